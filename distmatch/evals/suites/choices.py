"""Multiple-choice questions of the user's own: is the right choice the likeliest?

Such as the Situational Awareness Dataset's. A choice's probability is that of an answer which
begins with it, whatever comes behind its end. No text of a question is in what comes out.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.jsonl import file_content, fingerprint, json_lines
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suite import Suite
from distmatch.evals.suites.choice_questions import ChoiceQuestion
from distmatch.evals.suites.sad import without_text


@dataclass(frozen=True, kw_only=True)
class Choices(Suite):
    """The suite `choices`."""

    name: ClassVar[str] = "choices"
    question: ClassVar[str] = "Of questions of yours, is the right choice the likeliest?"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("correct", "the right choice is likelier than any other", "higher", "chance"),
        Metric("correct_low", "the least that bounds on the answers allow"),
        Metric("correct_high", "the most that bounds on the answers allow"),
        Metric("chance", "correct by guessing; to beat"),
        Metric("correct_prob", "probability of the right choice", "higher"),
        Metric("correct_share", "the same over the choices alone"),
        Metric("other", "none of the choices"),
    )
    compared: ClassVar[tuple[str, ...]] = ("correct",)
    path: str | Path | None = None
    """The JSONL file with messages, choices and answer."""

    def check(self) -> None:
        """Refuse a file that can't be used.

        Raises:
            ConfigError: None is named.
            DataError: What is wrong with it.
        """
        _ = self.questions

    def record(self) -> dict[str, Any]:
        """See `Suite`; where the file lies doesn't count, what is in it does."""
        return {name: value for name, value in super().record().items() if name != "path"}

    def inputs(self) -> dict[str, str]:
        """A hash of the file as it was read."""
        return {"file": hashlib.sha256(self._content).hexdigest()}

    @cached_property
    def questions(self) -> list[ChoiceQuestion]:
        """Those of the file."""
        return json_lines(self._content, ChoiceQuestion.from_record, str(self.path))

    @cached_property
    def _content(self) -> bytes:
        if self.path is None:
            raise ConfigError(
                "the suite choices asks questions of yours: give it a JSONL file with messages, "
                "choices and answer (choices.path=FILE)"
            )
        return file_content(self.path)

    def items(self, subject: Subject) -> Items:
        """The scores of every question."""
        return scored_questions(subject, self.questions)


def scored_questions(
    subject: Subject, questions: Sequence[ChoiceQuestion], name: str = Choices.name
) -> Items:
    """The scores of some questions.

    Args:
        subject: The model.
        questions: In any order, of any number of choices each.
        name: What is shown while they are asked.
    """
    answers = subject.answers(map(_example, questions), name)
    probs = answers.probs[:, :-1].astype(float)  # 0 where a question has fewer choices
    rights = [question.choices.index(question.answer) for question in questions]
    right = probs[np.arange(len(questions)), rights]
    wrong = [max(np.delete(row, place)) for row, place in zip(probs, rights, strict=True)]
    total, ones = probs.sum(axis=1), np.ones(len(questions))
    is_said = total > 0
    share = np.divide(right, total, out=np.zeros_like(right), where=is_said)
    return Items(
        metadata=tuple(_about(*numbered) for numbered in enumerate(questions)),
        ratios={
            "correct": ((right > wrong).astype(float), ones),
            **{name: (values, ones) for name, values in _bounds(answers.said, rights).items()},
            "chance": (np.array([1 / len(q.choices) for q in questions]), ones),
            "correct_prob": (right, ones),
            "correct_share": (share, is_said.astype(float)),
            "other": (answers.other.astype(float), ones),
        },
        said=tuple(map(without_text, answers.said)),
    )


def _bounds(
    said: Sequence[Mapping[str, Any]], rights: Sequence[int]
) -> dict[str, Float[np.ndarray, " questions"]]:
    """Whether the right choice is the likeliest at the worst and at the best; of endpoints alone.

    Args:
        said: The bounds on each question's choices; empty for models with weights.
        rights: Which of its choices is right.
    """
    bounds = {"correct_low": ("low", "high"), "correct_high": ("high", "low")}
    return {
        name: np.array(
            [
                float(known[own][right] > max(np.delete(known[others], right)))
                for known, right in zip(said, rights, strict=True)
            ]
        )
        for name, (own, others) in bounds.items()
        if said
    }


def _example(question: ChoiceQuestion) -> Example:
    probs = tuple(float(choice == question.answer) for choice in question.choices)
    return Example(
        prompt=question.messages,
        target=WordDistribution(question.words, probs),
        boundary=question.boundary,
    )


def _about(row: int, question: ChoiceQuestion) -> dict[str, object]:
    text = fingerprint([question.messages, question.choices, question.answer, question.boundary])
    return {
        "group": question.task,
        "row": row,
        "fingerprint": text,
        "num_choices": len(question.choices),
    }
