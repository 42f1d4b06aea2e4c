"""One of some words: what does the model call itself?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distmatch.errors import ConfigError, listed
from distmatch.evals.metric import Metric
from distmatch.evals.suites.probes.probe import VALID, Probe, Probs, Question
from distmatch.measuring.bounds import share_bounds


@dataclass(frozen=True, kw_only=True)
class WordsProbe(Probe):
    """The exact distribution over the given answers, whatever the case of the first letter."""

    answers: tuple[str, ...]
    """The first one's share is the headline."""

    def __post_init__(self) -> None:
        """See `Probe`.

        Raises:
            ConfigError: Fewer than two answers, the same one twice, or one that begins another,
                so that the second can't be told from the first going on.
        """
        super().__post_init__()
        check_told_apart(f"{self.name}.answers", self.answers)

    @property
    def figures(self) -> tuple[Metric, ...]:
        """The share of each answer."""
        return tuple(Metric(answer, "share of the answers") for answer in self.answers)

    def questions(self, text: str) -> tuple[Question, ...]:
        """The paraphrase as it stands."""
        return (Question(text, tuple(map(either_case, self.answers))),)

    def measured(self, probs: Sequence[Probs]) -> dict[str, float]:
        """The shares."""
        return dict(zip(self.answers, map(float, probs[0]), strict=True))

    def bounded(self, low: Probs, high: Probs) -> dict[str, float]:
        """The least and the most that each share may be."""
        shares = share_bounds(low, high) if high.sum() else np.full((2, len(low)), np.nan)
        bounds = zip(("low", "high"), shares, strict=True)
        return {
            f"{answer}_{side}": float(share)
            for side, shares in bounds
            for answer, share in zip(self.answers, shares, strict=True)
        }


def either_case(answer: str) -> tuple[str, ...]:
    """An answer as it was given, with a small first letter, and with a capital one.

    Of one in capitals: as it was given, all small, and with a capital alone.
    """
    if answer.isupper() and len(answer) > 1:
        ways = (answer, answer.lower(), answer.capitalize())
    else:
        first, rest = answer[:1], answer[1:]
        ways = (answer, first.lower() + rest, first.upper() + rest)
    return tuple(dict.fromkeys(ways))


def quoted_or(words: Sequence[str]) -> str:
    """Two words or more as one is asked to choose among them: in quotation marks, "or" between."""
    *others, last = (f'"{word}"' for word in words)
    return f"{', '.join(others)} or {last}"


def check_told_apart(name: str, answers: Sequence[str]) -> None:
    """Refuse answers of which one begins another, whatever the capitals.

    Args:
        name: What they are called.
        answers: Two or more.

    Raises:
        ConfigError: They can't be told apart, or there are too few.
    """
    if len(answers) < 2:
        raise ConfigError(f"{name} are {list(answers)}, expected two or more")
    plain = [answer.strip().lower() for answer in answers]
    if not all(plain) or VALID in answers:
        raise ConfigError(f'{name} are {list(answers)}: none may be empty or called "{VALID}"')
    pairs = [
        (answers[i], answers[j])
        for i, first in enumerate(plain)
        for j, second in enumerate(plain)
        if i != j and second.startswith(first)
    ]
    if pairs:
        told = listed(f'"{first}" begins "{second}"' for first, second in pairs)
        raise ConfigError(f"{name} can't be told apart: {told}. Choose other words")
