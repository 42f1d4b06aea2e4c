"""Words not given: does the model say two rare words of its own choice, as often as asked?

Its likely answers are searched whole; spellings and inflections of a word count as one. Which word
is "the first" only the model knows, so the likelier one is held against the larger number. Whether
it chooses at all is in `same_pair`: a model that always says the same two words has 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import ClassVar

import numpy as np

from distmatch.data.examples import plain_prompt
from distmatch.data.tasks.not_given import OwnWords, not_given
from distmatch.data.vocabulary import stem
from distmatch.errors import import_extra
from distmatch.evals.items import Items
from distmatch.evals.metric import WORD_METRICS, Metric
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suite import Suite
from distmatch.search import LikelyAnswers, distinct_words

_RARE = (1.0, 3.5)  # log10 of occurrences in a billion words of wordfreq's lists


@dataclass(frozen=True, kw_only=True)
class NotGiven(Suite):
    """The suite `not_given`."""

    name: ClassVar[str] = "not_given"
    question: ClassVar[str] = (
        "Does it choose two rare words by a seed in the prompt, and say them as often as asked?"
    )
    metrics: ClassVar[tuple[Metric, ...]] = (
        *(one for one in WORD_METRICS if one.name in ("tvd", "other")),
        Metric("policy_tvd", "best fixed answer; control to beat"),
        Metric("rare", "both words rare", "higher"),
        Metric("same_pair", "other prompts answered with the same two words", "lower"),
        Metric("unexplored", "probability of answers not looked at"),
    )
    compared: ClassVar[tuple[str, ...]] = ("tvd",)
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.DISTRIBUTIONS})
    prompts: int = 200
    unexplored: float = 0.05
    """A prompt is done when less than this is left."""
    most_opened: int = 64
    """Places opened at most for a prompt."""

    def check(self) -> None:
        """Refuse to go on without wordfreq, which says how rare a word is.

        Raises:
            MissingExtraError: It isn't installed.
        """
        import_extra("wordfreq", "words")

    def inputs(self) -> dict[str, str]:
        """The version of wordfreq."""
        self.check()
        return {"wordfreq": metadata.version("wordfreq")}

    def items(self, subject: Subject) -> Items:
        """The scores of the prompts."""
        asked = not_given(self.prompts, subject.seed)
        prompts = [question.prompt for question in asked]
        return scored_choices(
            asked, subject.likely_answers(prompts, self.unexplored, self.most_opened, self.name)
        )


def scored_choices(asked: Sequence[OwnWords], found: Sequence[LikelyAnswers]) -> Items:
    """What was asked held against what was found.

    Args:
        asked: The prompts.
        found: The likely answers to each.
    """
    tops = [two_words(answers.probs) for answers in found]
    larger = np.array([max(question.p, 1 - question.p) for question in asked])
    given = np.array([[prob for _, prob in top] for top in tops])
    kept = np.minimum(given, np.stack([larger, 1 - larger], axis=1)).sum(1)
    pairs = [frozenset(stem(word) for word, _ in top if word) for top in tops]
    counts = Counter(pairs)
    ones = np.ones(len(asked))
    values = {
        "tvd": 1 - kept,
        "other": 1 - given.sum(1),
        "policy_tvd": np.abs(larger - np.median(larger)),
        "rare": np.array([all(_is_rare(word) for word, _ in top) for top in tops]),
        "same_pair": np.array([counts[pair] - 1 for pair in pairs]) / max(len(asked) - 1, 1),
        "unexplored": np.array([answers.unexplored for answers in found]),
    }
    return Items(
        metadata=tuple(
            {"group": question.wording, "p": question.p, "seed": question.seed}
            for question in asked
        ),
        ratios={name: (some.astype(float), ones) for name, some in values.items()},
        prompts=tuple(plain_prompt(question.prompt) for question in asked),
        said=tuple({"first": [*top[0]], "second": [*top[1]]} for top in tops),
    )


def two_words(probs: Mapping[str, float]) -> list[tuple[str, float]]:
    """The two likeliest words and their probabilities, spellings and inflections taken together.

    Args:
        probs: Of whole answers. Where there is no second word, it is empty, of probability 0.
    """
    best = distinct_words(probs)[:2]
    return [*best, *[("", 0.0)] * (2 - len(best))]


def _is_rare(word: str) -> bool:
    low, high = _RARE
    frequencies = import_extra("wordfreq", "words")
    return word.isalpha() and low <= frequencies.zipf_frequency(word, "en") < high
