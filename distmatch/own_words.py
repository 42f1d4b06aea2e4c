"""Targets on words of the model's own choice, for prompts that name none.

A prompt says how probable two words are to be, and leaves the words to the model. What it is
trained towards then depends on what it would say now, so targets are made anew while it learns:
`OwnWordTargets` is a `refresh` for `DistributionTrainer`.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.tasks.drawing import drawn_words
from distmatch.data.tasks.not_given import OwnWords, not_given
from distmatch.data.vocabulary import stem, word_pool
from distmatch.errors import ConfigError, unknown_name
from distmatch.scoring import model_encoder
from distmatch.search import distinct_words, likely_answers

CHOICES = ("best", "distinct", "sampled")
"""What targets are put on: the model's own two likeliest words; the same, but no word for more than
one prompt of a refresh, so that always the same two can't be what is learned; or two rare words
drawn for each prompt."""

_MOST_OPENED = 48
_SEEDS = 1 << 31


@dataclass(frozen=True, kw_only=True)
class OwnWordTargets:
    """New prompts, with targets on words of the model's own.

    The likelier word is given the larger number, since only the model knows which is its first.
    Where the model has fewer than two words that can be taken, rare ones are drawn.

    Raises:
        ConfigError: An unknown choice.
    """

    tokenizer: PreTrainedTokenizerBase
    choice: str = "best"
    """One of `CHOICES`."""
    pool: Sequence[str] = field(default_factory=lambda: word_pool("rare"))
    """What is drawn from where words are drawn."""
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Check the choice."""
        if self.choice not in CHOICES:
            raise ConfigError(unknown_name("choice of words", self.choice, CHOICES))

    def __call__(self, model: nn.Module, examples: Sequence[Example]) -> list[Example]:
        """As many new examples. Randomness comes from torch's global generator.

        Args:
            model: What is trained.
            examples: The ones before, of which only the number counts.
        """
        seed = int(torch.randint(_SEEDS, ()))
        return self.draw(model, len(examples), seed)

    def draw(self, model: nn.Module, n: int, seed: int = 0) -> list[Example]:
        """Examples to begin with, or to go on with.

        Args:
            model: Asked for its likely answers, if the choice depends on them.
            n: How many.
            seed: Decides the prompts, and the words that are drawn.
        """
        questions = not_given(n, seed)
        rng = random.Random(f"{seed}/own words")
        own = self._own(model, questions) if self.choice != "sampled" else [[]] * n
        taken: Counter[str] = Counter()
        examples = []
        for question, words in zip(questions, own, strict=True):
            free = [w for w in words if self.choice == "best" or not taken[stem(w)]]
            chosen = tuple(free[:2])
            while len(chosen) < 2:
                drawn = drawn_words(self.pool, 2 - len(chosen), rng)
                chosen = tuple({stem(word): word for word in (*chosen, *drawn)}.values())
            taken.update(stem(word) for word in chosen)
            examples.append(_example(question, chosen))
        return examples

    def _own(self, model: nn.Module, questions: Sequence[OwnWords]) -> list[list[str]]:
        """The model's likeliest answers of one word each, by prompt."""
        found = likely_answers(
            model,
            model_encoder(model, self.tokenizer),
            [question.prompt for question in questions],
            most_opened=_MOST_OPENED,
            batch_size=self.batch_size,
        )
        return [
            [word for word, _ in distinct_words(answers.probs) if word.isalpha()]
            for answers in found
        ]


def _example(question: OwnWords, words: Sequence[str]) -> Example:
    larger = max(question.p, 1 - question.p)
    return Example(
        prompt=question.prompt,
        target=WordDistribution(tuple(words), (larger, 1 - larger)),
        metadata={"task": "not_given", "wording": question.wording, "seed": question.seed},
    )
