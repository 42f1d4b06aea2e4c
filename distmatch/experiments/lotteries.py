"""Lotteries with whole payoffs: of two with the same expected value one has both extremes."""

import random
from typing import NamedTuple

HIGHEST = 100
_MEANS = (30, 70)
_NARROW, _WIDE = (4, 16), (40, 90)
_PERCENTS = range(25, 80, 5)


class Lottery(NamedTuple):
    """A payoff or another."""

    high: int
    low: int
    percent: int
    """How often of 100 times it is the high one."""

    @property
    def mean(self) -> float:
        """The expected payoff."""
        return self.low + (self.high - self.low) * self.percent / 100

    def __str__(self) -> str:
        """As it is shown."""
        return (
            f"{self.high} points on {self.percent} of 100 fields, {self.low} points on the others"
        )


def drawn_lotteries(n: int, seed: str) -> list[tuple[Lottery, Lottery]]:
    """Pairs, the narrow one first: the other pays more at best and less at worst.

    Expected payoffs of a pair are within a point of each other.

    Args:
        n: How many.
        seed: Decides them.
    """
    rng = random.Random(f"{seed}/lotteries")
    found: list[tuple[Lottery, Lottery]] = []
    while len(found) < n:
        mean = rng.randint(*_MEANS)
        narrow, wide = (_drawn(mean, spread, rng) for spread in (_NARROW, _WIDE))
        fits = 0 <= wide.low < narrow.low and narrow.high < wide.high <= HIGHEST
        if fits and (narrow, wide) not in found:
            found.append((narrow, wide))
    return found


def _drawn(mean: int, spreads: tuple[int, int], rng: random.Random) -> Lottery:
    percent, spread = rng.choice(_PERCENTS), rng.randint(*spreads)
    low = round(mean - spread * percent / 100)
    return Lottery(low + spread, low, percent)
