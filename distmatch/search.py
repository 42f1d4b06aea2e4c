"""What a model is likely to answer: whole answers with their exact probabilities.

The tree of tokens after a prompt is opened at its likeliest places first (uniform-cost search),
until what was not looked at has no more than a given probability, which is reported.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from distmatch.data.examples import Prompt
from distmatch.data.trie import Encoder, TokenIds
from distmatch.data.vocabulary import stem
from distmatch.errors import ConfigError, converted
from distmatch.progress import phase
from distmatch.scoring import next_log_probs

_AT_ONCE = 16  # places of one prompt opened by a forward
_AROUND = " \t\n.,;:!?\"'*()[]{}"
_LEAST = 1e-5  # probability of a place that is kept to be opened later


class LikelyAnswers(NamedTuple):
    """Answers by their text, likeliest first."""

    probs: dict[str, float]
    """Without white space around them; several spellings in tokens are summed."""
    unexplored: float
    """Probability of everything not looked at: the sum of all answers' is 1 less this."""


def likely_answers(
    model: nn.Module,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    *,
    unexplored: float = 0.05,
    most_opened: int = 200,
    batch_size: int = 32,
    progress: str | None = None,
) -> list[LikelyAnswers]:
    """The likeliest answers to each prompt, without gradient and in evaluation mode.

    An answer ends where the model's turn does; to plain text, where the first word does.

    Args:
        model: The model; the mode of each of its modules is restored afterwards.
        encoder: Of its tokenizer.
        prompts: Texts or messages.
        unexplored: A prompt is done when less than this is left.
        most_opened: Places opened at most for a prompt, done or not.
        batch_size: Places a forward.
        progress: What it is called where progress is shown; None: it isn't shown.

    Raises:
        ConfigError: A limit that can't be kept.
        DataError: Prompts that can't be rendered, each with its number.
    """
    if not 0 < unexplored < 1 or most_opened < 1:
        raise ConfigError(
            f"unexplored is {unexplored} and most_opened {most_opened}, expected a number between "
            "0 and 1, and at least 1"
        )
    trees = converted(prompts, lambda prompt: _Tree.of(encoder, prompt), "prompt")
    with phase(progress or "", len(trees), shown=progress is not None) as searching:
        while opening := [t for t in trees if not t.is_done(unexplored, most_opened)]:
            places = [(tree, *place) for tree in opening for place in tree.likeliest(_AT_ONCE)]
            sequences = [tree.prompt_ids + path for tree, _, path in places]
            rows = (r for b in next_log_probs(model, sequences, batch_size=batch_size) for r in b)
            for (tree, log_prob, path), row in zip(places, rows, strict=True):
                tree.open(path, log_prob, row)
            searching.move_to(len(trees) - len(opening))
    return [tree.found() for tree in trees]


def distinct_words(probs: Mapping[str, float]) -> list[tuple[str, float]]:
    """Words and their probabilities, likeliest first; spellings and inflections taken together.

    Each is shown as its likeliest spelling, without what stands around it, such as quotation marks.

    Args:
        probs: Of whole answers.
    """
    together: dict[str, float] = {}
    shown: dict[str, str] = {}
    for text, prob in sorted(probs.items(), key=lambda item: -item[1]):
        word = text.strip(_AROUND)
        if word:
            key = stem(word)
            shown.setdefault(key, word)
            together[key] = together.get(key, 0.0) + prob
    return sorted(((shown[key], prob) for key, prob in together.items()), key=lambda item: -item[1])


@dataclass(eq=False)
class _Tree:
    """What is known of the answers to one prompt."""

    prompt_ids: TokenIds
    encoder: Encoder
    boundary: str
    places: list[tuple[float, TokenIds]] = field(default_factory=lambda: [(0.0, ())])
    """Not opened yet: negative log-probability and tokens, as a heap."""
    ended: dict[TokenIds, float] = field(default_factory=dict)
    """Answers' log-probabilities."""
    left_out: float = 0.0
    """Probability of places too unlikely to be kept."""
    num_opened: int = 0

    @classmethod
    def of(cls, encoder: Encoder, prompt: Prompt) -> "_Tree":
        slot = encoder.slot(prompt)
        return cls(slot.ids, encoder, "end_of_turn" if slot.is_chat else "end_of_word")

    @property
    def unexplored(self) -> float:
        return self.left_out + math.fsum(math.exp(-cost) for cost, _ in self.places)

    def is_done(self, unexplored: float, most_opened: int) -> bool:
        enough = self.unexplored <= unexplored or self.num_opened >= most_opened
        return not self.places or enough

    def likeliest(self, count: int) -> list[tuple[float, TokenIds]]:
        """Log-probabilities and tokens of the next places to open, taken from the heap."""
        taken = [heapq.heappop(self.places) for _ in range(min(count, len(self.places)))]
        self.num_opened += len(taken)
        return [(-cost, path) for cost, path in taken]

    def open(self, path: TokenIds, log_prob: float, row: Tensor) -> None:
        """Take in what follows a place: its end, and the places after it."""
        row = row.double() + log_prob
        # Before its first word an answer can only end with the turn
        ending = self.encoder.boundary_set(self.boundary if self.text(path) else "end_of_turn")
        is_end = torch.zeros(len(row), dtype=torch.bool)
        is_end[: len(ending)] = ending[: len(row)]
        self.ended[path] = float(row[is_end].logsumexp(0))
        row = row.masked_fill(is_end, -math.inf)
        kept = (row > math.log(_LEAST)).nonzero()[:, 0]
        for token, value in zip(kept.tolist(), row[kept].tolist(), strict=True):
            heapq.heappush(self.places, (-value, (*path, token)))
        self.left_out += float(row.exp().sum() - row[kept].exp().sum())

    def text(self, path: TokenIds) -> str:
        return self.encoder.tokenizer.batch_decode([list(path)])[0].strip()

    def found(self) -> LikelyAnswers:
        probs: dict[str, float] = {}
        for path, log_prob in self.ended.items():
            text = self.text(path)
            probs[text] = probs.get(text, 0.0) + math.exp(log_prob)
        ordered = dict(sorted(probs.items(), key=lambda item: -item[1]))
        return LikelyAnswers(ordered, self.unexplored)
