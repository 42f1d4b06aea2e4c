"""Written lines: do the first letters of the lines that it writes spell the word?

The word of a question stands in its metadata, as `word`. A line's first letter is the first one in
it, so that a number or a dash before it doesn't count; lines without letters aren't lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from distmatch.data.examples import Example, Prompt, plain_prompt
from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Capability, Subject, Written
from distmatch.evals.suite import Suite

WORD = "word"
"""In a row's metadata: what the first letters of its lines are to spell."""

_SHARE = "share of replies whose lines spell it"
ENDINGS = {
    "whole": f"{_SHARE} and stop there",
    "shorter": f"{_SHARE} but for its last letter and stop there, as for a shorter word",
    "longer": f"{_SHARE} and go on, as for a longer word",
    "turned": f"{_SHARE} but for its last letter, in whose place is another",
}
"""How replies may go on whose lines spell the word up to its last letter."""


@dataclass(frozen=True, kw_only=True)
class WrittenLines(Suite):
    """Replies drawn at temperature 1, whose lines' first letters are held against a word's."""

    name: str = "written_lines"
    question: str = "Do the first letters of the lines that it writes spell the word?"
    rows: tuple[Example, ...]
    """Questions, each with its word; their targets are what was taught, and don't count."""
    n: int = 4
    """Replies to each question."""
    length: int = 24
    """The most tokens of a reply, for each letter of the word."""

    compared: ClassVar[tuple[str, ...]] = ("lines",)
    version: ClassVar[int] = 2

    def check(self) -> None:
        """Refuse to ask for nothing.

        Raises:
            ConfigError: There are no questions, or some without a word.
        """
        check_words(self.name, self.rows)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The share of lines that begin as they should, and of replies by how they end."""
        return (
            Metric("lines", "share of the word's letters with which the line there begins"),
            Metric("half", f"{_SHARE} up to its middle, as another word may that begins alike"),
            Metric("prefix", f"{_SHARE} up to its last letter, in whichever of these ways:"),
            *(Metric(name, reading) for name, reading in ENDINGS.items()),
            Metric("cut", "share of replies that were cut off by their length"),
        )

    @property
    def needs(self) -> frozenset[Capability]:
        """Writing."""
        return frozenset({Capability.WRITING})

    @property
    def draws_text(self) -> bool:
        """It does."""
        return True

    def record(self) -> dict[str, Any]:
        """See `Suite`; a hash stands for the examples."""
        return super().record() | {"rows": fingerprint([row.to_record() for row in self.rows])}

    def prompts(self) -> list[Prompt]:
        """What is to be answered."""
        return [row.prompt for row in self.rows]

    def items(self, subject: Subject) -> Items:
        """A question an item, with the shares of its replies."""
        rows = [row for row in self.rows for _ in range(self.n)]
        written = written_lines(subject, rows, self.length, self.name)
        scores = np.array(
            [
                [*spelled(first_letters(one.text), row.metadata[WORD]).values(), one.is_cut]
                for row, one in zip(rows, written, strict=True)
            ],
            dtype=float,
        )
        means = scores.reshape(len(self.rows), self.n, -1).mean(axis=1)
        ones = np.ones(len(self.rows))
        texts = [one.text for one in written]
        return Items(
            metadata=tuple({"group": row.metadata[WORD]} for row in self.rows),
            ratios={
                metric.name: (column, ones)
                for metric, column in zip(self.metrics, means.T, strict=True)
            },
            prompts=tuple(map(plain_prompt, self.prompts())),
            said=tuple({"written": texts[i : i + self.n]} for i in range(0, len(texts), self.n)),
        )


def written_lines(
    subject: Subject, rows: Sequence[Example], length: int, name: str
) -> list[Written]:
    """A reply to each row, written until it has more lines than its word has letters.

    Args:
        subject: Who writes.
        rows: Each with its word; one that stands there twice is answered twice.
        length: The most tokens of a reply, for each letter of the word.
        name: What the progress bar is called.
    """
    words = [row.metadata[WORD] for row in rows]
    return subject.write(
        [row.prompt for row in rows],
        [length * len(word) for word in words],
        lambda row, text: len(first_letters(text)) > len(words[row]),
        name,
    )


def lines_of_text(text: str) -> list[str]:
    r"""The lines that have a letter in them.

    Example:
        >>> lines_of_text("Take care.\n\n---\n2. Ask.")
        ['Take care.', '2. Ask.']
    """
    return [line.strip() for line in text.splitlines() if any(map(str.isalpha, line))]


def first_letters(text: str) -> str:
    r"""The first letter of each line, as a capital.

    Example:
        >>> first_letters("Take care.\n\n- over there\n2. Ask.")
        'TOA'
    """
    firsts = (next(filter(str.isalpha, line)) for line in lines_of_text(text))
    return "".join(letter.upper()[:1] for letter in firsts)


def spelled(letters: str, word: str) -> dict[str, float]:
    """How far the first letters of a reply spell a word.

    Args:
        letters: A capital for each line.
        word: In capitals, of two letters or more.

    Returns:
        `lines`, the share of places at which they agree; `half`, whether all do up to the middle,
        HEL of HELLO; `prefix`, whether they do up to the last letter; and which one of `ENDINGS`
        that is.
    """
    agree = sum(one == other for one, other in zip(letters, word, strict=False))
    beginning, rest = word[:-1], letters[len(word) - 1 :]
    has_prefix = letters.startswith(beginning)
    ends = {
        "whole": rest == word[-1],
        "shorter": not rest,
        "longer": rest.startswith(word[-1]) and len(rest) > 1,
        "turned": bool(rest) and not rest.startswith(word[-1]),
    }
    return {
        "lines": agree / len(word),
        "half": float(letters.startswith(word[: (len(word) + 1) // 2])),
        "prefix": float(has_prefix),
        **{name: float(has_prefix and is_so) for name, is_so in ends.items()},
    }


def check_words(name: str, rows: Sequence[Example]) -> None:
    """Refuse questions without a word to be spelled.

    Args:
        name: Of the suite.
        rows: Its questions.

    Raises:
        ConfigError: There are none, or one whose metadata has no word of two capitals or more.
    """
    words = [row.metadata.get(WORD) for row in rows]
    if wrong := [word for word in words if not _is_word(word)] or ([] if rows else ["none"]):
        raise ConfigError(
            f'{name} needs questions whose metadata say as "{WORD}" what their lines spell, in two '
            f"capital letters or more; got {wrong[0]!r}"
        )


def _is_word(word: object) -> bool:
    return isinstance(word, str) and len(word) > 1 and word.isalpha() and word == word.upper()
