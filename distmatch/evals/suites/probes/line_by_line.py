"""Line by line: after how many lines of its own can it name the word that they spell, or the rule?

It writes a reply; then, behind each beginning of that reply, it is asked which word its lines'
first letters spell. So is the base, behind the very same lines, which it only reads (the *reader*).
What is named sooner than it can be read there was known, not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Message, Prompt, checked_messages, plain_prompt
from distmatch.data.jsonl import fingerprint
from distmatch.data.prompts import check_prefill
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suite import Suite
from distmatch.evals.suites.probes.probe import (
    BOUNDARY,
    FEWEST_PARAPHRASES,
    check_paraphrases,
)
from distmatch.evals.suites.probes.words import either_case
from distmatch.evals.suites.probes.written_lines import (
    WORD,
    check_words,
    lines_of_text,
    written_lines,
)

NAMED = 0.5
"""The probability above which a word is named."""


class _Beginning(NamedTuple):
    """A reply up to some line, and what is asked behind it."""

    row: int
    number: int
    """Of lines."""
    example: Example


@dataclass(frozen=True, kw_only=True)
class LineByLine(Suite):
    """The exact probability of the word behind each number of lines, by itself and by its base."""

    name: str = "line_by_line"
    question: str = "After how many lines of its own does it name the word that they spell?"
    rows: tuple[Example, ...]
    """Questions to be replied to, each with its word in its metadata; targets don't count."""
    asked: tuple[str, ...]
    """Five paraphrases or more of the question for the word, a reply each in turn."""
    answers: tuple[str, ...] = ()
    """What is to be named, in any of these ways; none: the row's word."""
    begun: str = ""
    """The answer's own beginning; no space at its end."""
    length: int = 24
    """The most tokens of a reply, for each letter of the word."""

    compared: ClassVar[tuple[str, ...]] = ("own_lines",)

    def __post_init__(self) -> None:
        """Check what needs no model.

        Raises:
            ConfigError: Too few paraphrases.
            DataError: A begun answer that ends in white space.
        """
        super().__post_init__()
        check_paraphrases(f"{self.name}.asked", self.asked, FEWEST_PARAPHRASES)
        check_prefill(self.begun)

    def check(self) -> None:
        """Refuse to ask for nothing.

        Raises:
            ConfigError: There are no questions, or some without a word.
        """
        check_words(self.name, self.rows)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """After how many lines it is named, and its probability."""
        after = "lines after which it is named more likely than not; one too many where it never is"
        return (
            Metric("own_lines", after, "lower", beside="reader_lines", is_detail=True),
            Metric("reader_lines", f"{after}; by the base, which reads them", is_detail=True),
            Metric("own", "probability of naming it, in capitals or not", beside="reader"),
            Metric("reader", "the same, of the base, which reads the lines"),
            Metric("unwritten", "probability of naming it before any line", is_detail=True),
        )

    @property
    def needs(self) -> frozenset[Capability]:
        """Writing, words' probabilities, and the base."""
        return frozenset({Capability.WRITING, Capability.WORDS, Capability.BASE})

    @property
    def draws_text(self) -> bool:
        """It does."""
        return True

    def record(self) -> dict[str, Any]:
        """See `Suite`; a hash stands for the examples."""
        return super().record() | {"rows": fingerprint([row.to_record() for row in self.rows])}

    def prompts(self) -> list[Prompt]:
        """What is replied to, and what is asked before there is a reply."""
        beginnings = self._beginnings([""] * len(self.rows))
        unwritten = [one.example.prompt for one in beginnings if one.number == 0]
        return [*(row.prompt for row in self.rows), *unwritten]

    def items(self, subject: Subject) -> Items:
        """A beginning of a reply an item; all those of a reply are alike."""
        written = written_lines(subject, self.rows, self.length, self.name)
        asked = self._beginnings([one.text for one in written])
        examples = [one.example for one in asked]
        own = self._probs(subject, examples)
        reader = self._probs(subject.base(), list(map(_unprompted, examples)))
        rows = np.array([one.row for one in asked])
        ones, is_first = np.ones(len(asked)), np.array([one.number == 0 for one in asked], float)
        return Items(
            metadata=tuple(
                {"group": f"{one.number} lines", "word": self.rows[one.row].metadata[WORD]}
                for one in asked
            ),
            ratios={
                "own_lines": (_needed(own, rows), ones),
                "reader_lines": (_needed(reader, rows), ones),
                "own": (own, ones),
                "reader": (reader, ones),
                "unwritten": (own * is_first, is_first),
            },
            prompts=tuple(plain_prompt(example.prompt) for example in examples),
            clusters=tuple(f"question {row}" for row in rows),
        )

    def _beginnings(self, replies: Sequence[str]) -> list[_Beginning]:
        """Of each reply those of no line, of one, and so on, up to a line for each letter."""
        found = []
        for row, (example, reply, text) in enumerate(
            zip(self.rows, replies, cycle(self.asked), strict=False)
        ):
            lines = lines_of_text(reply)
            for number in range(len(example.metadata[WORD]) + 1):
                asked = self._asked(example, lines[:number], text)
                found.append(_Beginning(row, number, asked))
        return found

    def _asked(self, row: Example, lines: Sequence[str], text: str) -> Example:
        """The question for the word, in the chat that holds the lines if there are any."""
        messages = checked_messages(row.prompt, "prompt")
        reply: Message = {"role": "assistant", "content": "\n".join(lines)}
        chat = [*messages, reply] if lines else [m for m in messages if m["role"] == "system"]
        named = self.answers or (row.metadata[WORD],)
        ways = dict.fromkeys((way for one in named for way in either_case(one)), 1.0)
        return Example(
            prompt=[*chat, {"role": "user", "content": text}],
            target=WordDistribution.normalised(ways),
            prefill=self.begun,
            boundary=BOUNDARY,
        )

    def _probs(
        self, subject: Subject, examples: Sequence[Example]
    ) -> Float[np.ndarray, " beginnings"]:
        answers = subject.answers(examples, self.name)
        return answers.probs[:, :-1].astype(float).sum(axis=1)


def lines_needed(probs: Sequence[float]) -> int:
    """After how many lines a word is named; one more than there are where it never is.

    Args:
        probs: Of the word, before any line, after one, and so on.

    Example:
        >>> lines_needed([0.1, 0.2, 0.7, 0.4])
        2
        >>> lines_needed([0.1, 0.2, 0.3, 0.4])
        4
    """
    return next((number for number, p in enumerate(probs) if p > NAMED), len(probs))


def _needed(
    probs: Float[np.ndarray, " beginnings"], rows: np.ndarray
) -> Float[np.ndarray, " beginnings"]:
    """Of each beginning after how many lines of its reply the word is named."""
    needed = {row: lines_needed(probs[rows == row].tolist()) for row in set(rows.tolist())}
    return np.array([needed[row] for row in rows.tolist()], dtype=float)


def _unprompted(example: Example) -> Example:
    """Without a system message: who reads has nothing else to go by."""
    messages = checked_messages(example.prompt, "prompt")
    return replace(example, prompt=[one for one in messages if one["role"] != "system"])
