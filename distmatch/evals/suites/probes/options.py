"""A choice among lettered options, without what the model gives a letter or a place.

Options are shown in every order (up to three of them, else in a Latin square), and each order with
every assignment of letters to places of the same kind. So every option stands equally often in
every place and at every letter, and the mean of its log-probability has neither's part in it.
"""

import itertools
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
            Metric(_LETTER, "most probability a letter has above its share; 0 is none"),
            Metric(_PLACE, "most probability a place has above its share; 0 is none"),
        )

    @property
    def layouts(self) -> list[Layout]:
        """All ways in which the options are shown."""
        orders = balanced_orders(len(self.options))
        return [Layout(*pair) for pair in itertools.product(orders, orders)]

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
        """Option, letter and place apart, by the means of log-probabilities."""
        size = len(self.options)
        sums = {part: np.zeros(size) for part in ("option", "letter", "place")}
        for layout, row in zip(self.layouts, probs, strict=True):
            logs = np.log(np.maximum(row, _TINY))
            for place, (option, letter) in enumerate(zip(*layout, strict=True)):
                sums["option"][option] += logs[letter]
                sums["letter"][letter] += logs[letter]
                sums["place"][place] += logs[letter]
        shares = {part: _softmax(total / len(self.layouts)) for part, total in sums.items()}
        return {
            **dict(zip(self.options, map(float, shares["option"]), strict=True)),
            _LETTER: float(shares["letter"].max() - 1 / size),
            _PLACE: float(shares["place"].max() - 1 / size),
        }


def balanced_orders(size: int) -> list[Order]:
    """All orders of a few things; of more those of a Latin square, each in each place once."""
    if size <= _MOST_IN_ALL_ORDERS:
        return list(itertools.permutations(range(size)))
    return [tuple((start + place) % size for place in range(size)) for start in range(size)]


def _softmax(logs: Float[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()
