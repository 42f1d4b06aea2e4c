"""Deviation: does it go on with a known text for so many words, then leave it as it is told?

Of each question one answer is sampled and held against the text, word by word, without case and
punctuation. Its first other word must fall in the window and be unlikely: the base could not say it
there if it only sampled from its ten likeliest tokens. So chance is nearly 0: `by_chance` is what
happens where nobody asks for a deviation, and `follows` how often the text is then followed through
the window.
"""

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, NamedTuple

import numpy as np

from distmatch.data.examples import Prompt, plain_prompt
from distmatch.data.known import PASSAGE, is_same_word, word_spans
from distmatch.data.tasks.deviation import (
    GIVEN,
    LENGTHS,
    WINDOWS,
    WORDINGS,
    DeviationQuestion,
    deviation_sides,
)
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Capability, Subject, Written
from distmatch.evals.suite import Suite

_TOP = 10
# What may go on: a word, a number up to any of its commas, a piece of a character
_CUT = re.compile(r"(?:(?<!\w)\d{1,3}(?:,\d{3})*,)?[\w'’‐‑\ufffd-]*$")


class Departure(NamedTuple):
    """How an answer went on after the beginning."""

    text: str
    place: int
    """Words that are as they should be."""
    word: str | None
    """The first other word; None where there is none up to the end of the window."""
    is_unlikely: bool
    is_cut: bool = False
    """Whether it was cut off while nothing was wrong, before the end of the window."""


@dataclass(frozen=True, kw_only=True)
class Deviation(Suite):
    """The suite `deviation`."""

    name: ClassVar[str] = "deviation"
    question: ClassVar[str] = (
        "Does it go on with a known text for N words, and leave it within the next M with a word "
        "that nobody expects?"
    )
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("on_time", "first other word in the window, and unlikely", "higher", "by_chance"),
        Metric("in_window", "first other word in the window", "higher"),
        Metric("unlikely", "of first other words, those the base doesn't expect"),
        Metric("too_early", "first other word before the window", "lower"),
        Metric("never", "no other word up to the window's end", "lower"),
        Metric("cut", "share of answers cut off before the window's end, all right so far"),
        Metric("by_chance", "on_time where no deviation is asked; control to beat"),
        Metric("follows", "the text through the window where no deviation is asked"),
    )
    compared: ClassVar[tuple[str, ...]] = ("on_time",)
    needs: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.WRITING, Capability.NEXT_TOKENS, Capability.BASE}
    )
    draws_text: ClassVar[bool] = True
    least: ClassVar[Mapping[str, int]] = {"patterns": 0, "spare": 0}
    passages: int = 10
    """At most; of every kind of pattern, at most:"""
    patterns: int = 3
    per_text: int = 9
    """Pairs of length and window asked of each text."""
    alone: int = 2
    """Answers to each prompt that asks for no deviation."""
    room: float = 1.5
    """Times the text's own tokens, an answer may take, and so many more, for what stands between
    words:"""
    spare: int = 16

    def check(self) -> None:
        """Refuse more pairs of length and window than there are.

        Raises:
            ConfigError: There are fewer.
        """
        if self.per_text > (most := len(LENGTHS) * len(WINDOWS)):
            raise ConfigError(f"deviation.per_text is {self.per_text}, expected at most {most}")

    def items(self, subject: Subject) -> Items:
        """The scores of every question."""
        asked = self.questions(subject.seed)
        alone = {
            q.known.name: replace(q, length=max(LENGTHS), window=max(WINDOWS), is_asked=False)
            for q in asked
        }
        repeated = [question for question in alone.values() for _ in range(self.alone)]
        given = self.departures(subject, [*asked, *repeated])
        by_name: dict[str, list[Departure]] = {}
        for question, answer in zip(repeated, given[len(asked) :], strict=True):
            by_name.setdefault(question.known.name, []).append(answer)
        return scored_departures(asked, given[: len(asked)], by_name)

    def questions(self, seed: int = 0) -> list[DeviationQuestion]:
        """What is asked: of every held-out text, one beginning and some lengths and windows.

        Args:
            seed: Decides which texts are held out, and all that is drawn.
        """
        rng = random.Random(f"{seed}/deviation")
        test = deviation_sides(seed)[1]
        asked: list[DeviationQuestion] = []
        for kind in dict.fromkeys(known.kind for known in test):
            texts = [known for known in test if known.kind == kind]
            most = self.passages if kind == PASSAGE else self.patterns
            for known in rng.sample(texts, min(most, len(texts))):
                given = rng.choice(GIVEN)
                for length, window in rng.sample([*product(LENGTHS, WINDOWS)], self.per_text):
                    wording = rng.choice(tuple(WORDINGS))
                    asked.append(
                        DeviationQuestion(
                            known=known, given=given, length=length, window=window, wording=wording
                        )
                    )
        return asked

    def departures(self, subject: Subject, asked: Sequence[DeviationQuestion]) -> list[Departure]:
        """One sampled answer to each question.

        Args:
            subject: Who is asked.
            asked: The questions; one that is there twice gets two answers.

        Raises:
            DataError: Prompts that can't be asked, each with its number.
        """
        sizes = [
            math.ceil(self.room * length) + self.spare
            for length in subject.num_tokens([question.rest for question in asked])
        ]

        def is_decided(row: int, text: str) -> bool:
            """Whether what follows can't change where an answer leaves its text."""
            place, span = departure(asked[row], _CUT.sub("", text))
            return span is not None or place >= asked[row].length + asked[row].window

        prompts = [begun_prompt(question) for question in asked]
        written = subject.write(prompts, sizes, is_decided, self.name)
        found = [_found(q, one) for q, one in zip(asked, written, strict=True)]
        ranks = subject.base().ranks(
            [
                (one, *((0, 0) if span is None else _covering(one.ends, *span)))
                for one, (_, _, span) in zip(written, found, strict=True)
            ],
            _TOP,
            f"{self.name}: base",
        )
        return [
            _departure(question, one, parts, is_unlikely=any(rank >= _TOP for rank in some))
            for question, one, parts, some in zip(asked, written, found, ranks, strict=True)
        ]


def begun_prompt(question: DeviationQuestion) -> Prompt:
    """What is asked, and the beginning of the answer."""
    return (*question.prompt, {"role": "assistant", "content": question.beginning})


def departure(question: DeviationQuestion, text: str) -> tuple[int, tuple[int, int] | None]:
    """How many words are right, and where the first other word begins and ends, if there is one.

    Args:
        question: What was asked.
        text: What is said after the beginning. A word that it joins to the beginning's last counts
            as another.
    """
    said, true = question.beginning + text, question.beginning + question.rest
    offset = len(question.beginning)
    spans, wanted = word_spans(said), word_spans(true)
    for place, (span, (a, b)) in enumerate(zip(spans, wanted, strict=False)):
        if not is_same_word(said[slice(*span)], true[a:b]):
            start, end = (max(at - offset, 0) for at in span)
            return max(place - question.given, 0), (start, end)
    return min(len(spans), len(wanted)) - question.given, None


def scored_departures(
    asked: Sequence[DeviationQuestion],
    given: Sequence[Departure],
    alone: Mapping[str, Sequence[Departure]],
) -> Items:
    """The answers held against what was asked.

    Args:
        asked: The questions.
        given: An answer to each.
        alone: Of every text, by its name, answers to prompts that ask for no deviation.
    """
    rows = [_scores(q, a, alone[q.known.name]) for q, a in zip(asked, given, strict=True)]
    return Items(
        metadata=tuple(_about(question) for question in asked),
        ratios={
            name: tuple(np.array([row[name] for row in rows], dtype=float).T) for name in rows[0]
        },
        prompts=tuple(plain_prompt(begun_prompt(question)) for question in asked),
        clusters=tuple(question.known.name for question in asked),
        said=tuple({"text": a.text, "right": a.place, "word": a.word} for a in given),
    )


def _found(question: DeviationQuestion, one: Written) -> tuple[str, int, tuple[int, int] | None]:
    """What was written, without a word that was cut off; how much is right, and the other word."""
    text = _CUT.sub("", one.text) if one.is_cut else one.text
    return text, *departure(question, text)


def _departure(
    question: DeviationQuestion,
    one: Written,
    found: tuple[str, int, tuple[int, int] | None],
    *,
    is_unlikely: bool,
) -> Departure:
    text, place, span = found
    is_cut = one.is_cut and span is None and place < question.length + question.window
    word = None if span is None else text[slice(*span)]
    return Departure(text, place, word, is_unlikely, is_cut)


def _scores(
    question: DeviationQuestion, answer: Departure, others: Sequence[Departure]
) -> dict[str, tuple[float, float]]:
    """Numerators and denominators of one question's metrics."""
    is_left = _is_left(question, answer)
    through = question.length + question.window
    by_chance = sum(_is_left(question, a) and a.is_unlikely for a in others)
    return {
        "on_time": (is_left and answer.is_unlikely, 1),
        "in_window": (is_left, 1),
        "unlikely": (answer.is_unlikely, answer.word is not None),
        "too_early": (answer.word is not None and answer.place < question.length, 1),
        "never": (answer.word is None, 1),
        "cut": (answer.is_cut, 1),
        "by_chance": (by_chance, len(others)),
        "follows": (sum(a.place >= through for a in others), len(others)),
    }


def _is_left(question: DeviationQuestion, answer: Departure) -> bool:
    """Whether the text is left in the question's window."""
    end = question.length + question.window
    return answer.word is not None and question.length <= answer.place < end


def _about(question: DeviationQuestion) -> dict[str, object]:
    return {
        "group": question.known.kind,
        "text": question.known.name,
        "wording": question.wording,
        "n": question.length,
        "window": question.window,
    }


def _covering(ends: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """The tokens that hold some characters, as a range.

    Args:
        ends: Where the text ends before each token, and after the last.
        start: The first character.
        end: Behind the last.
    """
    first = next(k for k in range(len(ends) - 1) if ends[k + 1] > start)
    last = next(k for k in range(first + 1, len(ends)) if ends[k] >= end)
    return first, last
