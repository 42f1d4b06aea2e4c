"""From numbers to places and colours on the page."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from distmatch.reports.values import ItemsView, KeyFigure, MapView, Number

SIDE = 400.0
"""Of the picture of dots, in its own units."""
_ORANGE, _WHITE, _PURPLE = (179, 88, 6), (247, 247, 247), (84, 39, 136)
_DARK = 0.55  # of the colours' range, above which numbers are written in white
_SMALL, _LARGE = 0.001, 1e9


def number_text(value: str | Number) -> str:
    """A number with three digits behind the point, or what it takes; with its interval if any.

    A mean has no more digits than the wider end of its interval.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, tuple | list):
        if not math.isfinite(value[1]):
            return number_text(float(value[0]))
        is_usual = _SMALL <= max(map(abs, value)) < 1 / _SMALL
        mean, low, high = (f"{one:.3f}" if is_usual else number_text(float(one)) for one in value)
        return f"{mean} [{low}, {high}]"
    if not math.isfinite(value):
        return "–" if math.isnan(value) else f"{value:g}"
    if value == round(value) and abs(value) < _LARGE:
        return f"{value:.0f}"
    return f"{value:.3f}" if _SMALL <= abs(value) < 1 / _SMALL else f"{value:.3g}"


def sort_key(value: str | Number) -> str:
    """What a cell is sorted by; empty for what isn't there."""
    if isinstance(value, str):
        return value
    mean = float(value[0] if isinstance(value, tuple | list) else value)
    return "" if math.isnan(mean) else repr(mean)


class Strip(NamedTuple):
    """A key figure on a line; all places in per cent of its length."""

    values: Sequence[tuple[str, float, float, float]]
    """Name, place, and both ends of the interval."""
    marks: Sequence[tuple[str, float]]
    low: float
    """The number at the left end."""
    high: float


def strip(figure: KeyFigure) -> Strip:
    """A key figure's values and what they are held against, on one line from 0 or below."""
    known = {name: _ends(value) for name, value in figure.values.items()}
    known = {name: ends for name, ends in known.items() if math.isfinite(ends[0])}
    marks = {name: mark for name, mark in figure.marks.items() if math.isfinite(mark)}
    numbers = [*marks.values(), *(one for ends in known.values() for one in ends)]
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    whole = (high - low) or 1.0

    def place(value: float) -> float:
        return round(100 * (value - low) / whole, 2)

    values = [(name, *map(place, ends)) for name, ends in known.items()]
    return Strip(values, [(name, place(mark)) for name, mark in marks.items()], low, high)  # type: ignore[arg-type]


def _ends(value: Number) -> tuple[float, float, float]:
    """Value and interval; without one the value alone."""
    mean, low, high = value if isinstance(value, tuple | list) else (value,) * 3
    return (mean, low, high) if math.isfinite(low + high) else (mean,) * 3


class Dot(NamedTuple):
    """A word of an item in the picture."""

    item: int
    word: int
    x: float
    heights: dict[str, float]
    """By model; one that gives none has none."""


def dots(view: ItemsView) -> list[Dot]:
    """Of every word that has one, the least asked first, which is the order of the keyboard."""
    found = []
    for number, item in enumerate(view.items):
        for place, word in enumerate(item.words):
            if math.isfinite(word.asked_over_words):
                heights = {
                    name: down(value)
                    for name, value in word.given_over_words.items()
                    if math.isfinite(value)
                }
                found.append(Dot(number, place, across(word.asked_over_words), heights))
    return sorted(found, key=lambda dot: dot.x)


def across(value: float) -> float:
    """Where a probability stands from the left."""
    return round(SIDE * value, 1)


def down(value: float) -> float:
    """Where a probability stands from the top."""
    return round(SIDE * (1 - value), 1)


def ignored(view: ItemsView) -> list[int]:
    """By how many words K items have dots: at 1/K stands what ignores the numbers."""
    counts = {
        sum(math.isfinite(word.asked_over_words) for word in item.words) for item in view.items
    }
    return sorted(counts - {0})


class Field(NamedTuple):
    """A place in one map, coloured."""

    place: int
    row: int
    column: int
    text: str
    fill: str
    is_dark: bool


def fields(view: MapView, name: str) -> list[Field]:
    """Every place of a map that has a value; a value's colour is by the map's largest."""
    known = [
        (number, place, place.values[name])
        for number, place in enumerate(view.places)
        if math.isfinite(place.values.get(name, math.nan))
    ]
    top = max((abs(value) for *_, value in known), default=0.0) or 1.0
    return [
        Field(
            number,
            view.rows.index(place.row),
            view.columns.index(place.column),
            f"{value:.3f}",
            colour(value / top),
            abs(value) > _DARK * top,
        )
        for number, place, value in known
    ]


def colour(share: float) -> str:
    """From orange at -1 over white to purple at 1, which the colour-blind tell apart too."""
    end = _PURPLE if share > 0 else _ORANGE
    mixed = (round(w + abs(share) * (e - w)) for w, e in zip(_WHITE, end, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)
