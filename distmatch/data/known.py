"""Texts that a model knows how to go on with: passages known by heart, and patterns.

The passages are in the public domain (the King James Version outside the United Kingdom),
`known.txt` beside this file. Patterns are made here; their beginnings show how they go on.
"""

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources

from distmatch.data.vocabulary import word_pool

PASSAGE = "passage"
"""The kind of the texts that aren't patterns."""

SHORTEST = 60
"""Words that every text has at least."""

_WORD = re.compile(
    r"(?<!\w)(?<!\d,)\d{1,3}(?:,\d{3})+(?!\w)"  # a number with commas
    r"|['’]?[^\W_]+(?:['’‐‑-][^\W_]+)*"
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Known:
    """A text with a name of its own."""

    kind: str
    name: str
    text: str


@functools.cache
def known_texts() -> tuple[Known, ...]:
    """All of them, passages first; no name is there twice.

    Example:
        >>> list(dict.fromkeys(known.kind for known in known_texts()))
        ['passage', 'up', 'down', 'days', 'months', 'letters', 'words']
    """
    return (*_passages(), *_patterns())


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where words begin and end: what is joined by apostrophes or single hyphens is one.

    So are a number's digits that commas part.

    Example:
        >>> word_spans("self-evident, o'er 1,000")
        [(0, 12), (14, 18), (19, 24)]
    """
    return [match.span() for match in _WORD.finditer(text)]


def is_same_word(one: str, other: str) -> bool:
    """Whether two words are the same but for case and punctuation."""
    return _plain(one) == _plain(other)


def _plain(word: str) -> str:
    return "".join(filter(str.isalnum, word.casefold()))


def _passages() -> Iterator[Known]:
    content = resources.files("distmatch.data").joinpath("known.txt").read_text(encoding="utf-8")
    _, *sections = content.split("\n[")
    for section in sections:
        name, body = section.split("]\n", 1)
        yield Known(PASSAGE, name, " ".join(body.split()))


def _patterns() -> Iterator[Known]:
    for step in (1, 2, 3, 5, 10):
        for start in (1, 4, 20, 37, 60):
            numbers = range(start * step, (start + SHORTEST) * step, step)
            yield _pattern("up", f"by {step} from {start * step}", map(str, numbers))
    for step in (1, 2, 5, 10):
        for start in (60, 75, 88, 99):
            numbers = range(start * step, (start - SHORTEST) * step, -step)
            yield _pattern("down", f"by {step} from {start * step}", map(str, numbers))
    for kind, names in (("days", _DAYS), ("months", _MONTHS)):
        for first in range(len(names)):
            yield _pattern(
                kind, f"from {names[first]}", _repeated((*names[first:], *names[:first]))
            )
    for size in (3, 4, 5):
        for first in range(0, len(_LETTERS) - size, size):
            letters = _LETTERS[first : first + size]
            yield _pattern("letters", letters, _repeated(letters))
    colours, animals = word_pool("colours"), word_pool("animals")
    for colour, animal in zip(colours, animals, strict=False):
        yield _pattern("words", f"{colour} and {animal}", _repeated((colour, animal)))


def _pattern(kind: str, name: str, words: Iterable[str]) -> Known:
    return Known(kind, f"{kind}: {name}", ", ".join(words))


def _repeated(words: Iterable[str]) -> Iterator[str]:
    listed = tuple(words)
    return (listed[place % len(listed)] for place in range(SHORTEST))
