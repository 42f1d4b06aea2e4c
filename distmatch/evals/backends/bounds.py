"""Probabilities that are only known between bounds, and how far they may be from a target.

Axes: `support` is the words of a question and, last, other.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from distmatch.measuring.bounds import share_bounds
from distmatch.measuring.intervals import CONFIDENCE


class Bounds(NamedTuple):
    """Between what the probability of each word and, last, of other lies."""

    low: Float[np.ndarray, " support"]
    high: Float[np.ndarray, " support"]
    point: Float[np.ndarray, " support"]
    """An estimate between them that sums to 1."""
    unmeasured: tuple[dict[str, Any], ...] = ()
    """After which beginnings of an answer there is how much probability that wasn't seen."""

    @classmethod
    def between(
        cls,
        low: Float[np.ndarray, " support"],
        high: Float[np.ndarray, " support"],
        unmeasured: tuple[dict[str, Any], ...] = (),
    ) -> "Bounds":
        """Bounds whose estimate has every outcome equally far from its low to its high.

        Args:
            low: Summing to at most 1.
            high: Summing to at least 1.
            unmeasured: See the field.
        """
        room = float((high - low).sum())
        share = np.clip((1 - low.sum()) / room, 0, 1) if room > 0 else 0.0
        return cls(low, high, low + share * (high - low), unmeasured)


@functools.cache
def clopper_pearson(count: int, size: int, together: int = 1) -> tuple[float, float]:
    """The exact 95 % interval for a probability, of so many hits in so many independent draws.

    Args:
        count: Hits.
        size: Draws.
        together: Of so many such intervals at once all are right in at least 95 % of cases
            (Bonferroni).

    References:
        Clopper & Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the
        Binomial", Biometrika, 1934.
    """
    from scipy.stats import binomtest  # takes a second to import

    if not size:
        return 0.0, 1.0
    confidence = 1 - (1 - CONFIDENCE) / together
    low, high = binomtest(count, size).proportion_ci(confidence, method="exact")
    return float(low), float(high)


def tvd_bounds(
    low: Float[np.ndarray, " support"],
    high: Float[np.ndarray, " support"],
    target: Float[np.ndarray, " support"],
) -> tuple[float, float]:
    """The smallest TVD from the target that the bounds allow, and one that none of them exceeds.

    The smallest is exact: what is moved into the bounds, and then to a sum of 1, has to be moved.
    The other is the least of what only the high, only the low bounds allow above or below the
    target.

    Args:
        low: Summing to at most 1.
        high: Summing to at least 1.
        target: Summing to 1.
    """
    clipped = np.clip(target, low, high)
    least = 0.5 * (np.abs(clipped - target).sum() + abs(1 - clipped.sum()))
    most = min(
        np.maximum(high - target, 0).sum(),
        np.maximum(target - low, 0).sum(),
        np.maximum(low - target, 0).sum() + 1 - low.sum(),
        np.maximum(target - high, 0).sum() + high.sum() - 1,
    )
    return float(least), float(max(most, least))


def over_words(
    low: Float[np.ndarray, " support"], high: Float[np.ndarray, " support"]
) -> tuple[Float[np.ndarray, " support"], Float[np.ndarray, " support"]]:
    """The bounds of what is renormalised over the words; other has 0."""
    smallest, largest = share_bounds(low[:-1], high[:-1])
    return np.append(smallest, 0.0), np.append(largest, 0.0)
