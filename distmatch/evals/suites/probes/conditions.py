"""Conditions: does what it answers depend on what it is asked about, and on who it is told to be?

Every condition is each other's absence: an answer that is given everywhere is no likelier under one
condition than under the others, and counts for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distmatch.errors import ConfigError, unknown_name
from distmatch.evals.metric import Metric
from distmatch.evals.suites.probes.probe import Probe, Probs, Question
from distmatch.evals.suites.probes.words import check_told_apart, either_case

DEPENDS = "depends"


@dataclass(frozen=True, kw_only=True)
class ConditionsProbe(Probe):
    """The exact distribution over the given answers under each condition, and how it differs.

    A paraphrase is a system message that says who the model is; behind it a message of every
    condition is asked.
    """

    answers: tuple[str, ...]
    messages: Mapping[str, tuple[str, ...]]
    """By condition, a user's message for each paraphrase in turn."""
    pairs: Mapping[str, str]
    """Of conditions the answer whose probability is reported."""

    def __post_init__(self) -> None:
        """See `Probe`.

        Raises:
            ConfigError: Answers that can't be told apart, fewer than two conditions, one without a
                message for each paraphrase, a pair of what isn't there, or a reader, who can't be
                told to be somebody.
        """
        super().__post_init__()
        check_told_apart(f"{self.name}.answers", self.answers)
        if len(self.messages) < 2:
            raise ConfigError(
                f"{self.name}.messages are of {len(self.messages)} conditions, expected two or "
                "more, which are each other's absence"
            )
        for condition, texts in self.messages.items():
            if not len(texts) == len(self.asked) == len(self.referent or self.asked):
                raise ConfigError(
                    f"{self.name}: there are {len(texts)} messages of {condition}, "
                    f"{len(self.asked)} paraphrases and {len(self.referent)} of the referent: give "
                    "as many of each"
                )
        for condition, answer in self.pairs.items():
            for what, name, known in (
                ("condition", condition, self.messages),
                ("answer", answer, self.answers),
            ):
                if name not in known:
                    raise ConfigError(f"{self.name}.pairs: {unknown_name(what, name, known)}")
        if self.reader:
            raise ConfigError(f"{self.name}.reader: nobody reads answers here: leave it out")

    @property
    def figures(self) -> tuple[Metric, ...]:
        """How far answers depend on the condition at all, and how far each pair's does."""
        return (
            Metric(DEPENDS, "total variation from the answers under the other conditions"),
            *(
                Metric(name, "probability of the answer, less that under the other conditions")
                for name in map(pair_figure, self.pairs, self.pairs.values())
            ),
        )

    def questions(self, text: str) -> tuple[Question, ...]:
        """Every condition's message, behind the system message that is this paraphrase."""
        number = next(some.index(text) for some in (self.asked, self.referent) if text in some)
        ways = tuple(map(either_case, self.answers))
        return tuple(Question(texts[number], ways, text) for texts in self.messages.values())

    def measured(self, probs: Sequence[Probs]) -> dict[str, float]:
        """Each condition's answers less those under the others."""
        shares = np.stack(probs)
        others = (shares.sum(axis=0) - shares) / (len(shares) - 1)
        rows = dict(zip(self.messages, shares - others, strict=True))
        return {
            DEPENDS: float(np.abs(shares - others).sum(axis=1).mean() / 2),
            **{
                pair_figure(condition, answer): float(rows[condition][self.answers.index(answer)])
                for condition, answer in self.pairs.items()
            },
        }


def pair_figure(condition: str, answer: str) -> str:
    """What a pair's figure is called."""
    return f"{condition}: {answer}"
