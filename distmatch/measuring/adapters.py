"""Differences between groups of adapters: the adapter is the unit, and there are few of them.

Student's t and Welch's (scipy's), and Holm's correction where several are tested (Holm 1979).
"""

import math
from collections.abc import Sequence

import numpy as np

from distmatch.measuring.intervals import CONFIDENCE, Interval

FEWEST = 4
"""Of two or three adapters there is no interval."""


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean, and Student's interval; without one where there are fewer than `FEWEST`.

    Args:
        values: One an adapter; those that aren't finite don't count.
    """
    from scipy.stats import ttest_1samp  # takes a second to import

    known = _finite(values)
    if not len(known):
        return Interval(math.nan, math.nan, math.nan)
    if len(known) < FEWEST:
        return Interval(float(known.mean()), math.nan, math.nan)
    if _are_alike(known):
        return Interval(*[float(known[0])] * 3)
    return _with(float(known.mean()), ttest_1samp(known, 0).confidence_interval(CONFIDENCE))


def difference_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Second minus first of adapters that aren't paired, by Welch; NaN without enough of either.

    Args:
        first: One an adapter, such as of an arm to compare with.
        second: Likewise.
    """
    from scipy.stats import ttest_ind

    a, b = _finite(first), _finite(second)
    if not (len(a) and len(b)):
        return Interval(math.nan, math.nan, math.nan)
    difference = float(b.mean() - a.mean())
    if min(len(a), len(b)) < FEWEST or (_are_alike(a) and _are_alike(b)):
        return Interval(difference, math.nan, math.nan)
    found = ttest_ind(b, a, equal_var=False)
    return _with(difference, found.confidence_interval(CONFIDENCE))


def slope_interval(x: Sequence[float], y: Sequence[float]) -> Interval:
    """The least-squares slope of y on x, and its interval, by t of two degrees of freedom fewer."""
    from scipy.stats import linregress, t

    if len(x) < 2 or len(set(x)) < 2:
        return Interval(math.nan, math.nan, math.nan)
    found = linregress(x, y)
    slope = float(found.slope)
    if len(x) < FEWEST:
        return Interval(slope, math.nan, math.nan)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(x) - 2) * found.stderr)
    return Interval(slope, slope - reach, slope + reach)


def power(interval: Interval, freedom: int, effect: float, level: float) -> float:
    """How likely a one-sided test finds an effect, by noncentral t; NaN without an interval.

    The permutation test's is about the same (Hoeffding 1952).

    Args:
        interval: Of what was measured, whose width says how much adapters vary.
        freedom: The degrees of freedom it was made with.
        effect: To be found.
        level: Of the test.
    """
    from scipy.stats import nct, t

    if not (freedom > 0 and interval.high > interval.low):
        return math.nan
    error = (interval.high - interval.low) / 2 / t.ppf((1 + CONFIDENCE) / 2, freedom)
    return float(nct.sf(t.ppf(1 - level, freedom), freedom, effect / error))


def holm(ps: Sequence[float]) -> list[float]:
    """Each p as it is to be held against one level, in the order given."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, highest = [0.0] * len(ps), 0.0
    for place, row in enumerate(order):
        highest = max(highest, min(1.0, ps[row] * (len(ps) - place)))
        adjusted[row] = highest
    return adjusted


def _finite(values: Sequence[float]) -> np.ndarray:
    known = np.asarray(values, dtype=float)
    return known[np.isfinite(known)]


def _are_alike(values: np.ndarray) -> bool:
    """Whether all are the same but for rounding, so that there is no spread to go by."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def _with(mean: float, interval: tuple[float, float]) -> Interval:
    low, high = interval
    return Interval(mean, float(low), float(high))
