"""Multiple-choice questions of the user's own: is the right choice the likeliest?

Such as the Situational Awareness Dataset's. A choice's probability is that of an answer which
begins with it, whatever comes behind its end. No text of a question is in what comes out.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.subject import Subject
from distmatch.evals.suites.choice_questions import ChoiceQuestion as Question
from distmatch.evals.suites.choice_questions import read_choices
from distmatch.evals.suites.sad import without_text

PLACE = "DISTMATCH_CHOICES"
"""The environment variable that names the user's JSONL file."""


def check() -> dict[str, str]:
    """What the scores depend on besides the model.

    Raises:
        ConfigError: The environment variable isn't set.
        DataError: The file can't be used.
    """
    return {PLACE: fingerprint([asdict(question) for question in _questions()])}


def measure(subject: Subject) -> Items:
    """The scores of every question of the user's file.

    Raises:
        ConfigError: The environment variable isn't set.
        DataError: The file can't be used, or a question can't be scored; with its number.
    """
    return scores(subject, _questions())


def scores(subject: Subject, questions: Sequence[Question]) -> Items:
    """The scores of some questions.

    Args:
        subject: The model.
        questions: In any order, of any number of choices each.
    """
    answers = subject.answers(map(_example, questions), "choices")
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


def _questions() -> list[Question]:
    path = os.environ.get(PLACE)
    if not path:
        raise ConfigError(
            f"the suite choices asks questions of yours: set {PLACE} to a JSONL file with "
            "messages, choices and answer"
        )
    return read_choices(path)


def _example(question: Question) -> Example:
    probs = tuple(float(choice == question.answer) for choice in question.choices)
    return Example(
        prompt=question.messages,
        target=WordDistribution(question.words, probs),
        boundary=question.boundary,
    )


def _about(row: int, question: Question) -> dict[str, object]:
    text = fingerprint([question.messages, question.choices, question.answer, question.boundary])
    return {
        "group": question.task,
        "row": row,
        "fingerprint": text,
        "num_choices": len(question.choices),
    }
