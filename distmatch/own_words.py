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
from distmatch.data.examples import Example, Prompt
from distmatch.data.prompts import is_spaceless
from distmatch.data.tasks.drawing import check_pool, drawn_words
from distmatch.data.tasks.not_given import OwnWords, not_given
from distmatch.data.vocabulary import stem, word_pool
from distmatch.errors import ConfigError, DataError, unknown_name
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
        DataError: A pool that can't be used, or without two words of different stem.
    """

    tokenizer: PreTrainedTokenizerBase
    choice: str = "best"
    """One of `CHOICES`."""
    pool: Sequence[str] = field(default_factory=lambda: word_pool("rare"))
    """What is drawn from where words are drawn."""
    system: bool = True
    """With the task's system message, which some templates take none of."""
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Check choice and pool."""
        check_pool(self.pool)
        if self.choice not in CHOICES:
            raise ConfigError(unknown_name("choice of words", self.choice, CHOICES))
        if len({stem(word) for word in self.pool}) < 2:
            raise DataError(
                f"the pool {list(self.pool)[:8]} has no two words of different stem, and two are "
                "drawn for a prompt where the model has none: give more words"
            )

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
        if self.choice == "distinct" and len({stem(word) for word in self.pool}) < 3 * n:
            raise ConfigError(
                f"{len(self.pool)} words for {n} prompts without a word in common: give more words"
            )
        questions = not_given(n, seed)
        rng = random.Random(f"{seed}/own words")
        own = self._own(model, questions) if self.choice != "sampled" else [[]] * n
        taken: Counter[str] = Counter()
        examples = []
        for question, words in zip(questions, own, strict=True):
            free = [w for w in words if self.choice == "best" or not taken[stem(w)]]
            chosen = free[:2]
            while len(chosen) < 2:
                (word,) = drawn_words(self.pool, 1, rng)
                is_new = stem(word) not in map(stem, chosen)
                if is_new and not (self.choice == "distinct" and taken[stem(word)]):
                    chosen = [*chosen, word]
            taken.update(map(stem, chosen))
            examples.append(self._example(question, chosen))
        return examples

    def _own(self, model: nn.Module, questions: Sequence[OwnWords]) -> list[list[str]]:
        """The model's likeliest answers of one word each, by prompt."""
        found = likely_answers(
            model,
            model_encoder(model, self.tokenizer),
            [self._prompt(question) for question in questions],
            most_opened=_MOST_OPENED,
            batch_size=self.batch_size,
        )
        return [
            [word for word, _ in distinct_words(answers.probs) if _is_one_word(word)]
            for answers in found
        ]

    def _prompt(self, question: OwnWords) -> Prompt:
        return question.prompt if self.system else question.prompt[1:]

    def _example(self, question: OwnWords, words: Sequence[str]) -> Example:
        larger = max(question.p, 1 - question.p)
        return Example(
            prompt=self._prompt(question),
            target=WordDistribution(tuple(words), (larger, 1 - larger)),
            metadata={"task": "not_given", "wording": question.wording, "seed": question.seed},
        )


def _is_one_word(text: str) -> bool:
    return text.isalpha() and not is_spaceless(text[-1])
