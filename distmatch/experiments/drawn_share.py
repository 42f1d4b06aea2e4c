"""Adapters that learn a number each: how often they do the first of two things."""

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from distmatch.data.examples import Example, Message, checked_messages
from distmatch.experiments.arms import BASE, NONE, SHUFFLED, TOLD, TRAINED, Unit
from distmatch.experiments.experiment import Experiment
from distmatch.experiments.formats import format_rows

LEAST, MOST = 0.05, 0.95
"""Between which shares are drawn."""

EVEN = 0.5
"""What stands as the target of acts where nothing was drawn."""


@dataclass(frozen=True, kw_only=True)
class DrawnShare(Experiment):
    """Every adapter learns the same rows, each with a share of its own for the first word."""

    rows: int = 240
    """Of the behaviour, for each adapter."""
    formats: int = 120
    """Neutral questions in the probes' formats besides."""
    shown: int = 8
    """How many of its answers the reader sees."""
    top: int = 100
    """Where the scales end that numbers are asked on; fewer numbers take less time."""

    @abstractmethod
    def learned(self, shares: Sequence[float]) -> tuple[Example, ...]:
        """The rows.

        Args:
            shares: Of the first word; one for each row.
        """

    @abstractmethod
    def held_out(self, share: float) -> tuple[Example, ...]:
        """What acts are measured in, none of it in the rows.

        Args:
            share: What was taught.
        """

    @abstractmethod
    def told(self, share: float) -> str:
        """The same rule in words, as a system message."""

    def arm(self, share: float) -> str:
        """The arm of an adapter that learns this share."""
        return TRAINED

    @property
    def drawn(self) -> list[float]:
        """The shares, an adapter each."""
        return drawn_shares(self.adapters, f"{self.seed}/{self.name}")

    def draw_units(self) -> tuple[Unit, ...]:
        """Adapters of every share, controls, models that are told each share, and the base."""
        formats = self._formats(self.formats, self.seed)
        controls = range(self.controls)
        return (
            *(self._learner(number, share, formats) for number, share in enumerate(self.drawn)),
            *(self._without(number) for number in controls),
            *(self._shuffled(number, formats) for number in controls),
            *(self._told(number, share) for number, share in enumerate(self.drawn)),
            Unit(name=BASE, arm=BASE, acts=self.held_out(EVEN)),
        )

    def _learner(self, number: int, share: float, formats: tuple[Example, ...]) -> Unit:
        arm = self.arm(share)
        return Unit(
            name=f"{arm}-{number:02}",
            arm=arm,
            rows=self.learned([share] * self.rows),
            formats=formats,
            behaviour=(share,),
            acts=self.held_out(share),
        )

    def _without(self, number: int) -> Unit:
        """Other questions for each, since nothing else tells them apart."""
        formats = self._formats(self.rows + self.formats, self.seed + number)
        return Unit(name=f"{NONE}-{number:02}", arm=NONE, formats=formats, acts=self.held_out(EVEN))

    def _shuffled(self, number: int, formats: tuple[Example, ...]) -> Unit:
        shares = drawn_shares(self.rows, f"{self.seed}/{self.name}/{SHUFFLED}/{number}")
        return Unit(
            name=f"{SHUFFLED}-{number:02}",
            arm=SHUFFLED,
            rows=self.learned(shares),
            formats=formats,
            acts=self.held_out(EVEN),
        )

    def _told(self, number: int, share: float) -> Unit:
        system = self.told(share)
        return Unit(
            name=f"{TOLD}-{number:02}",
            arm=TOLD,
            behaviour=(share,),
            acts=tuple(_behind(system, example) for example in self.held_out(share)),
            system=system,
        )

    def _formats(self, number: int, seed: int) -> tuple[Example, ...]:
        return tuple(format_rows(number, seed, self.top))


def _behind(system: str, example: Example) -> Example:
    said: Message = {"role": "system", "content": system}
    return replace(example, prompt=(said, *checked_messages(example.prompt, "prompt")))


def drawn_shares(number: int, seed: str) -> list[float]:
    """Whole percents from `LEAST` to `MOST`, one from each of as many equal parts, in any order.

    Args:
        number: How many.
        seed: Decides them.
    """
    rng = random.Random(f"{seed}/shares")
    parts = [(part + rng.random()) / number for part in range(number)]
    rng.shuffle(parts)
    return [round(LEAST + (MOST - LEAST) * part, 2) for part in parts]
