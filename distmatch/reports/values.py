"""What a page shows, as plain values: texts, numbers, and where they belong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Number = float | tuple[float, float, float]
"""A value, or a mean with the lower and upper end of its interval; NaN: none."""


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A number of the first screen, of one model or several."""

    name: str
    reading: str
    """What it says, in a few words."""
    values: Mapping[str, Number]
    """By what was measured, such as "before" and "after"; the last one counts."""
    marks: Mapping[str, float] = field(default_factory=dict)
    """Values to hold them against, by name, such as of a policy to beat."""


class AskedWord(NamedTuple):
    """A word that an item asks for, or none of its words."""

    word: str
    asked: float
    """Of all answers."""
    given: Mapping[str, float]
    """By model, likewise."""
    asked_over_words: float = float("nan")
    """Renormalised over the words; NaN: it says nothing about control, and has no dot."""
    given_over_words: Mapping[str, float] = {}
    """By model, likewise."""


@dataclass(frozen=True, kw_only=True)
class AskedItem:
    """One thing that was asked, and what came of it."""

    prompt: Sequence[tuple[str, str]]
    """Messages, each who speaks ("" for plain text) and what."""
    cells: Sequence[float]
    """A number a column of the view."""
    words: Sequence[AskedWord] = ()
    said: Mapping[str, str] = field(default_factory=dict)
    """By model what it wrote, where that is no word."""
    known: Mapping[str, str] = field(default_factory=dict)
    """What else is known of it, such as its wording."""


@dataclass(frozen=True, kw_only=True)
class ItemsView:
    """Items one by one, with a dot a word where they ask for distributions over words."""

    title: str
    series: Sequence[str]
    """Models, as items and bins call them; the last one is shown first."""
    columns: Sequence[str]
    items: Sequence[AskedItem]
    choices: Sequence[str] = ()
    """Of what is known of items, that by which they can be chosen."""
    bins: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    """By model, of each bin: mean asked, mean given, lower and upper end of the latter."""
    summaries: Mapping[str, str] = field(default_factory=dict)
    """By model, what its dots say together."""
    kind: str = "items"


@dataclass(frozen=True, kw_only=True)
class TableView:
    """A table that can be sorted and searched."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Number]]
    readings: Sequence[str] = ()
    """Of each column, how it is read; empty: of none."""
    note: str = ""
    kind: str = "table"


class PlaceFacts(NamedTuple):
    """A place of maps: a block and a site."""

    row: str
    column: str
    values: Mapping[str, float]
    """By map."""
    facts: Mapping[str, str]
    """What else is told of it, such as learning rate and price."""
    dots: Sequence[tuple[float, float]] = ()
    """Asked and given probability of each word it was asked for, over the words alone."""


@dataclass(frozen=True, kw_only=True)
class MapView:
    """Maps of the same places side by side."""

    title: str
    rows: Sequence[str]
    """From the bottom."""
    columns: Sequence[str]
    maps: Sequence[str]
    places: Sequence[PlaceFacts]
    references: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By map, values to hold its places against, such as of all blocks together."""
    note: str = ""
    kind: str = "map"


@dataclass(frozen=True, kw_only=True)
class Page:
    """All of a report."""

    title: str
    sentence: str
    """What was done."""
    figures: Mapping[str, Sequence[KeyFigure]] = field(default_factory=dict)
    """The first screen, by heading."""
    views: Sequence[ItemsView | MapView | TableView] = ()
    notes: Sequence[str] = ()
    """What has to be known beside the figures."""
