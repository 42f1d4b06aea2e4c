"""A choice among lettered options, without what the model gives a letter or a place.

Every option stands equally often in every place with every letter that is shown there, so nothing
that a model gives letters, places, or a letter in a place has a part in the mean of its
log-probability. Up to three options are shown in all orders with all assignments of letters. More
are turned through all places, under two assignments, between which letters and places are told
apart by least squares.
"""

import itertools
import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from distmatch.errors import ConfigError
from distmatch.evals.metric import Metric
from distmatch.evals.suites.probes.probe import VALID, Probe, Probs, Question

_MOST_IN_ALL_ORDERS = 3
_LETTER, _PLACE = "letter_preference", "place_preference"
_TINY = 1e-30
Order = tuple[int, ...]


class Layout(NamedTuple):
    """How options are shown."""

    options: Order
    """Which stands in each place."""
    letters: Order
    """Which letter each place has."""


@dataclass(frozen=True, kw_only=True)
class OptionsProbe(Probe):
    """The probabilities of options, with the preference for letters and places taken out."""

    version: ClassVar[int] = 2
    options: Mapping[str, str] = field(default_factory=dict)
    """Their texts by short names; the first one's probability is the headline."""
    closing: str = "Answer with the letter alone."
    """What stands behind the options."""

    def __post_init__(self) -> None:
        """See `Probe`.

        Raises:
            ConfigError: Fewer than two options, more than letters, or the same text twice.
        """
        super().__post_init__()
        texts = [text.strip() for text in self.options.values()]
        if not 2 <= len(texts) <= len(string.ascii_uppercase):
            raise ConfigError(f"{self.name}.options has {len(texts)} options, expected 2 to 26")
        if not all(texts) or len(set(texts)) < len(texts):
            raise ConfigError(f"{self.name}.options: {texts} are empty or repeat: give each once")
        if taken := {VALID, _LETTER, _PLACE} & set(self.options):
            raise ConfigError(f"{self.name}.options: none can be called {taken.pop()}")

    @property
    def figures(self) -> tuple[Metric, ...]:
        """The probability of each option, and the preferences taken out."""
        return (
            *(Metric(name, "probability, letters and places taken out") for name in self.options),
            Metric(_LETTER, "most probability a letter has above its share; near 0: none"),
            Metric(_PLACE, "most probability a place has above its share; near 0: none"),
        )

    @property
    def layouts(self) -> list[Layout]:
        """All ways in which the options are shown."""
        return balanced_layouts(len(self.options))

    def questions(self, text: str) -> tuple[Question, ...]:
        """The paraphrase with the options in every layout; the answers are the letters."""
        letters = string.ascii_uppercase[: len(self.options)]
        answers = tuple((letter, f"({letter}") for letter in letters)
        texts = list(self.options.values())
        return tuple(
            Question(
                "\n".join(
                    [
                        f"{text}\n",
                        *(
                            f"{letters[letter]}) {texts[option]}"
                            for option, letter in zip(*layout, strict=True)
                        ),
                        f"\n{self.closing}",
                    ]
                ),
                answers,
            )
            for layout in self.layouts
        )

    def measured(self, probs: Sequence[Probs]) -> dict[str, float]:
        """Option, letter and place apart, as sums in the log-probabilities."""
        size = len(self.options)
        shown = [
            np.log(np.maximum(row[list(layout.letters)], _TINY))
            for layout, row in zip(self.layouts, map(np.asarray, probs), strict=True)
        ]
        option, letter, place = (_parts(size) @ np.concatenate(shown)).reshape(3, size)
        return {
            **dict(zip(self.options, map(float, _softmax(option)), strict=True)),
            _LETTER: float(_softmax(letter).max() - 1 / size),
            _PLACE: float(_softmax(place).max() - 1 / size),
        }


def balanced_layouts(size: int) -> list[Layout]:
    """Ways to show so many options, each as often in each place with each letter shown there.

    Two assignments of letters to places tell their parts apart where by moving from one to the
    other one comes to all. Of such, one near a half turn is taken.

    Args:
        size: Of options; up to three come in all orders, of more there are twice as many layouts.
    """
    if size <= _MOST_IN_ALL_ORDERS:
        orders = list(itertools.permutations(range(size)))
        return [Layout(*pair) for pair in itertools.product(orders, orders)]
    apart = next(by for by in range(size // 2, 0, -1) if math.gcd(by, size) == 1)
    return [
        Layout(_turned(size, start), _turned(size, by))
        for by in (0, apart)
        for start in range(size)
    ]


@cache
def _parts(size: int) -> Float[np.ndarray, "parts shown"]:
    """By what the log-probabilities of all places of all layouts are multiplied.

    Gives the parts of options, letters and places, by least squares, beside what each layout has of
    its own, by which its probabilities sum to 1.
    """
    layouts = balanced_layouts(size)
    each = np.eye(size)
    design = [
        np.hstack(
            [each[list(options)], each[list(letters)], each, np.eye(len(layouts))[[n] * size]]
        )
        for n, (options, letters) in enumerate(layouts)
    ]
    return np.asarray(np.linalg.pinv(np.vstack(design))[: 3 * size])


def _turned(size: int, start: int) -> Order:
    return tuple((start + place) % size for place in range(size))


def _softmax(logs: Float[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()
