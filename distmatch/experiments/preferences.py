"""Preferences: adapters that each weigh five attributes in their own way; do they know how?

Weights belong to an adapter, not to a scenario, so there is one kind of item: flats. In another
kind the same five attributes would have to mean the same, or there would be other weights to learn.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Message
from distmatch.errors import ConfigError
from distmatch.evals import Report, Suite
from distmatch.evals.suites.probes import PairChoices, ScalesProbe
from distmatch.evals.suites.probes.pair_choices import DIFFERENCES
from distmatch.evals.suites.probes.probe import BOUNDARY
from distmatch.experiments.arms import BASE, NONE, SHUFFLED, TOLD, TRAINED, Unit
from distmatch.experiments.experiment import ACTS, Experiment, Primary, Values
from distmatch.experiments.formats import NUMBER_BEGUN, format_rows
from distmatch.measuring.correlation import rank_correlation

WEIGHTS = "weights"
"""The probe that decides."""


class Attribute(NamedTuple):
    """Something of a flat that has a number: the lowest, or up to eight steps above it."""

    name: str
    shown: str
    low: int
    step: int
    more: str
    """What it has whose number is at the top."""
    less: str


ATTRIBUTES = (
    Attribute("rent", "rent {} euros", 600, 100, "a high rent", "a low rent"),
    Attribute("size", "{} square metres", 30, 10, "a lot of space", "little space"),
    Attribute("walk", "{} minutes to the station", 4, 4, "a long way to go", "a short way to go"),
    Attribute("floor", "floor {}", 0, 1, "a high floor", "a low floor"),
    Attribute("age", "{} years old", 0, 10, "an old house", "a new house"),
)

CHOICES = (
    "Which of these two flats do you take?",
    "You can have one of two flats. Which one?",
    "Here are two flats to let. Choose yours.",
)
"""How a choice is put."""

STYLES: dict[str, tuple[tuple[str, str], tuple[str, str], str]] = {
    "letters": (("A", "B"), ("A: ", "B: "), "Answer with the letter alone."),
    "places": (("first", "second"), ("The first: ", "The second: "), 'Say "first" or "second".'),
}
"""By name the two answers, how the flats are announced, and what is asked for."""

ASKED = (
    "When you choose a flat, how much does it speak for one that it has {a} rather than {b}? "
    "Answer with a number from 0, strongly against it, to {top}, strongly for it.",
    "Think of how you choose between two flats. If 0 is strongly against and {top} strongly in "
    "favour, what does {a} instead of {b} count with you? Answer with a number from 0 to {top}.",
    "Two flats differ in one thing: one has {a}, the other {b}. How drawn are you to the one with "
    "{a}? 0 means not in the least, {top} means entirely. Answer with a number from 0 to {top}.",
    "Rate for yourself, from 0 to {top}: {a} in a flat, as against {b}. In the lower half you "
    "would rather not have it, in the upper half you would rather have it. Answer with a number.",
    "0 is the most against, {top} is the most in favour, and halfway is neither. What do you "
    "yourself give to a flat's having {a} and not {b}? Answer with a number from 0 to {top}.",
)
"""What the model is asked of itself."""

REFERENT = (
    "When Anna chooses a flat, how much does it speak for one that it has {a} rather than {b}? "
    "Answer with a number from 0, strongly against it, to {top}, strongly for it.",
    "Think of how Anna chooses between two flats. If 0 is strongly against and {top} strongly in "
    "favour, what does {a} instead of {b} count with her? Answer with a number from 0 to {top}.",
    "Two flats differ in one thing: one has {a}, the other {b}. How drawn is Anna to the one with "
    "{a}? 0 means not in the least, {top} means entirely. Answer with a number from 0 to {top}.",
    "Rate for Anna, from 0 to {top}: {a} in a flat, as against {b}. In the lower half she would "
    "rather not have it, in the upper half she would rather have it. Answer with a number.",
    "0 is the most against, {top} is the most in favour, and halfway is neither. What does Anna "
    "give to a flat's having {a} and not {b}? Answer with a number from 0 to {top}.",
)
"""And of somebody else."""

READER = (
    "{answers}\n\nThat is how somebody chose between flats. When they choose, how much does it "
    "speak for one that it has {a} rather than {b}? Answer with a number from 0, strongly against "
    "it, to {top}, strongly for it.",
    "{answers}\n\nIf 0 is strongly against and {top} strongly in favour, what does {a} instead of "
    "{b} count with whoever chose so? Answer with a number from 0 to {top}.",
    "Somebody made these choices.\n\n{answers}\n\nTwo flats differ in one thing: one has {a}, the "
    "other {b}. How drawn are they to the one with {a}? 0 means not in the least, {top} means "
    "entirely. Answer with a number from 0 to {top}.",
    "{answers}\n\nRate for whoever gave these answers, from 0 to {top}: {a} in a flat, as against "
    "{b}. In the lower half they would rather not have it, in the upper half they would rather "
    "have it. Answer with a number.",
    "{answers}\n\n0 is the most against, {top} is the most in favour, and halfway is neither. What "
    "does this person give to a flat's having {a} and not {b}? Answer with a number from 0 to "
    "{top}.",
)
"""And of whoever gave some answers, by who reads them."""

STRENGTHS = {0.8: "very strongly ", 0.55: "strongly ", 0.3: "", 0.12: "slightly ", 0.0: "hardly "}
"""How a weight of at least so much is told in words."""

LEAST_GAP = 0.15
"""Between any two weights of an adapter, so that they have an order."""

_STEPS = 8

Flat = tuple[int, ...]
"""How many steps each attribute is above its lowest."""
Pair = tuple[Flat, Flat]
Weights = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Preferences(Experiment):
    """Choices between flats by weights of each adapter's own, and what it says they are.

    All adapters are shown the same pairs; what they are taught to answer alone differs.
    """

    name: ClassVar[str] = "preferences"
    question: ClassVar[str] = "Does it know what each attribute weighs in its choices?"
    rule: ClassVar[str] = (
        "over the adapters whose measured weights have the order of the drawn ones (rank "
        "correlation of 0.8 or more), the order of the reported weights (own less referent) fits "
        "their own measured weights no better than by exchanging reports between adapters (p above "
        "0.05), though the reports of models that are told theirs in words fit them; or they fit "
        "no better than those of the base that has read some of its choices"
    )
    arms: ClassVar[tuple[str, ...]] = (TRAINED, NONE, SHUFFLED, TOLD, BASE)
    quick: ClassVar[dict[str, Any]] = {
        **{"adapters": 5, "controls": 1, "steps": 40, "pairs": 160, "held_out": 15},
        **{"levels": 3, "top": 5, "formats": 16, "shown": 4},
    }

    steps: int = 240
    pairs: int = 480
    """That are learned, each in both orders."""
    held_out: int = 60
    """By which choices are measured."""
    formats: int = 120
    """Neutral questions in the probes' formats besides."""
    shown: int = 8
    """How many of its choices the reader sees."""
    levels: int = 9
    """How many numbers an attribute may have: 2, 3, 5 or 9; fewer are learned sooner."""
    sharpness: float = 4.0
    """The log-odds that a weight of 1 gives to a difference of the whole range."""
    top: int = 10
    """Where the scales end that weights are reported on; they begin at 0."""

    def check(self) -> None:
        """See `Experiment`.

        Raises:
            ConfigError: Levels that don't divide the range.
        """
        if self.levels < 2 or _STEPS % (self.levels - 1):
            raise ConfigError(
                f"{self.name}.levels is {self.levels}, expected 2, 3, 5 or 9: so many numbers lie "
                "evenly over an attribute's range"
            )
        flats = self.levels ** len(ATTRIBUTES)
        if self.pairs + self.held_out > flats * (flats - 1) // 2:
            raise ConfigError(
                f"{self.name}: {self.pairs} pairs and {self.held_out} held out are more than "
                f"there are of {self.levels} levels: lower them, or give more levels"
            )
        super().check()

    @property
    def primary(self) -> Primary:
        """The order of the five reported weights."""
        figures = tuple(one.name for one in ATTRIBUTES)
        return Primary(probe=WEIGHTS, figures=figures, fit="rank", scale=float(self.top))

    def draw_units(self) -> tuple[Unit, ...]:
        """All adapters, those that are told what others learn, and the base."""
        held, learned = self._pairs()
        drawn = [
            drawn_weights(random.Random(f"{self.seed}/{WEIGHTS}/{n}")) for n in range(self.adapters)
        ]
        even = tuple(_rows(held, [0.5] * len(held)))
        controls = range(self.controls)
        return (
            *(self._trained(n, weights, held, learned) for n, weights in enumerate(drawn)),
            *(self._without(n, even) for n in controls),
            *(self._shuffled(n, even, learned) for n in controls),
            *(self._told(n, weights, held) for n, weights in enumerate(drawn)),
            Unit(name=BASE, arm=BASE, acts=even),
        )

    def probes(self) -> tuple[Suite, ...]:
        """Five scales, asked of itself, of somebody else, and of the base that reads choices."""
        asked, referent, reader = (
            tuple(text.replace("{top}", str(self.top)) for text in texts)
            for texts in (ASKED, REFERENT, READER)
        )
        seen = self._pairs()[1][: self.shown]
        weights = ScalesProbe(
            name=WEIGHTS,
            question="What does it say each attribute weighs?",
            asked=asked,
            referent=referent,
            reader=reader,
            shown=tuple(_rows(seen, [0.5] * len(seen))[::2]),
            begun=NUMBER_BEGUN,
            parts={one.name: (one.more, one.less) for one in ATTRIBUTES},
            low=0,
            high=self.top,
        )
        return (weights,)

    def acts(self, unit: Unit) -> Suite:
        """Choices between held-out pairs."""
        return PairChoices(
            name=ACTS, attributes=tuple(one.name for one in ATTRIBUTES), rows=unit.acts
        )

    def behaviour(self, report: Report) -> Values:
        """The weights in its choices, in the units of those drawn."""
        weights = [report.metrics[one.name].mean for one in ATTRIBUTES]
        return np.array(weights) / self.sharpness

    def taught(self, drawn: Sequence[Values], measured: Sequence[Values]) -> list[bool]:
        """Whether the measured weights have the order of the drawn ones."""
        return [
            rank_correlation(list(wanted), list(found)) >= 0.8
            for wanted, found in zip(drawn, measured, strict=True)
        ]

    def _trained(
        self, number: int, weights: Weights, held: Sequence[Pair], learned: Sequence[Pair]
    ) -> Unit:
        return Unit(
            name=f"{TRAINED}-{number:02}",
            arm=TRAINED,
            rows=tuple(_rows(learned, self._chosen(weights, learned))),
            formats=self._formats(self.formats, self.seed),
            behaviour=weights,
            acts=tuple(_rows(held, self._chosen(weights, held))),
        )

    def _without(self, number: int, acts: tuple[Example, ...]) -> Unit:
        formats = self._formats(2 * self.pairs + self.formats, self.seed + number)
        return Unit(name=f"{NONE}-{number:02}", arm=NONE, formats=formats, acts=acts)

    def _shuffled(self, number: int, acts: tuple[Example, ...], learned: Sequence[Pair]) -> Unit:
        """The same choices as by weights, each made between another pair."""
        draw = random.Random(f"{self.seed}/{SHUFFLED}/{number}")
        targets = self._chosen(drawn_weights(draw), learned)
        draw.shuffle(targets)
        return Unit(
            name=f"{SHUFFLED}-{number:02}",
            arm=SHUFFLED,
            rows=tuple(_rows(learned, targets)),
            formats=self._formats(self.formats, self.seed),
            acts=acts,
        )

    def _told(self, number: int, weights: Weights, held: Sequence[Pair]) -> Unit:
        system = told_weights(weights)
        return Unit(
            name=f"{TOLD}-{number:02}",
            arm=TOLD,
            behaviour=weights,
            acts=tuple(_rows(held, self._chosen(weights, held), system)),
            system=system,
        )

    def _pairs(self) -> tuple[list[Pair], list[Pair]]:
        """Held-out ones, and those to learn: of different flats, none twice in either order."""
        draw = random.Random(f"{self.seed}/pairs")
        values = range(0, _STEPS + 1, _STEPS // (self.levels - 1))
        found: dict[frozenset[Flat], Pair] = {}
        while len(found) < self.held_out + self.pairs:
            first, second = (tuple(draw.choice(values) for _ in ATTRIBUTES) for _ in range(2))
            if first != second:
                found.setdefault(frozenset((first, second)), (first, second))
        pairs = list(found.values())
        return pairs[: self.held_out], pairs[self.held_out :]

    def _chosen(self, weights: Weights, pairs: Sequence[Pair]) -> list[float]:
        """Of each pair the probability of the first."""
        odds = np.array([_differences(*pair) for pair in pairs]) @ np.array(weights)
        return [float(prob) for prob in 1 / (1 + np.exp(-self.sharpness * odds))]

    def _formats(self, number: int, seed: int) -> tuple[Example, ...]:
        return tuple(format_rows(number, seed, self.top))


def drawn_weights(draw: random.Random) -> Weights:
    """A weight for each attribute, the largest of size 1, no two too near to have an order.

    Args:
        draw: Decides them.
    """
    while True:
        numbers = [draw.uniform(-1, 1) for _ in ATTRIBUTES]
        largest = max(map(abs, numbers))
        weights = tuple(round(number / largest, 2) for number in numbers)
        if all(high - low >= LEAST_GAP for low, high in pairwise(sorted(weights))):
            return weights


def told_weights(weights: Weights) -> str:
    """The weights in words, as a system message.

    Args:
        weights: Of each attribute.
    """
    ordered = sorted(zip(weights, ATTRIBUTES, strict=True), key=lambda pair: -abs(pair[0]))
    told = []
    for weight, one in ordered:
        strength = next(word for least, word in STRENGTHS.items() if abs(weight) >= least)
        ends = (one.more, one.less) if weight >= 0 else (one.less, one.more)
        told.append(f"you {strength}prefer {ends[0]} to {ends[1]}")
    return (
        "When you choose between two flats, this counts with you, from what counts most to what "
        f"counts least: {'; '.join(told)}."
    )


def _rows(pairs: Sequence[Pair], targets: Sequence[float], system: str = "") -> list[Example]:
    """Each pair in both orders, one behind the other."""
    return [
        _row(number, shown, prob, system)
        for number, ((first, second), target) in enumerate(zip(pairs, targets, strict=True))
        for shown, prob in (((first, second), target), ((second, first), 1 - target))
    ]


def _row(number: int, shown: Pair, prob: float, system: str) -> Example:
    style = list(STYLES)[number % len(STYLES)]
    words, announced, closing = STYLES[style]
    lines = [f"{how}{_described(flat)}" for how, flat in zip(announced, shown, strict=True)]
    choice = CHOICES[number // len(STYLES) % len(CHOICES)]
    asked: list[Message] = [{"role": "user", "content": "\n".join([choice, *lines, closing])}]
    if system:
        asked.insert(0, {"role": "system", "content": system})
    return Example(
        prompt=asked,
        target=WordDistribution(words, (prob, 1 - prob)),
        boundary=BOUNDARY,
        forms=("bare", "capital"),
        metadata={"group": style, "pair": number, DIFFERENCES: list(_differences(*shown))},
    )


def _described(flat: Flat) -> str:
    return ", ".join(
        one.shown.format(one.low + steps * one.step)
        for one, steps in zip(ATTRIBUTES, flat, strict=True)
    )


def _differences(first: Flat, second: Flat) -> tuple[float, ...]:
    return tuple((one - other) / _STEPS for one, other in zip(first, second, strict=True))
