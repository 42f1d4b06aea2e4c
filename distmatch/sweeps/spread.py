"""How far means over a few seeds can be trusted: Student's intervals from a pooled spread."""

import math
from collections.abc import Iterable, Sequence

from distmatch.measuring.intervals import Interval


def pooled_spread(samples: Iterable[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation within samples, all taken together, and its degrees of freedom.

    Args:
        samples: Of each cell its values, one a seed; those of a cell with a NaN don't count.
    """
    squares, freedom = 0.0, 0
    for values in samples:
        if any(map(math.isnan, values)):
            continue
        mean = mean_over(values)
        squares += sum((value - mean) ** 2 for value in values)
        freedom += len(values) - 1
    return (math.sqrt(squares / freedom) if freedom else math.nan), freedom


def student_interval(values: Sequence[float], spread: float, freedom: int) -> Interval:
    """Student's interval of 95 % for a mean, given the spread of what it is taken over.

    Args:
        values: Such as one a seed.
        spread: Standard deviation between them.
        freedom: Its degrees of freedom; 0: there is no interval.
    """
    mean = mean_over(values)
    if not freedom:
        return Interval(mean, math.nan, math.nan)
    from scipy.stats import t  # takes a second to import

    half = float(t.ppf(0.975, freedom)) * spread / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def mean_over(values: Iterable[float]) -> float:
    """The mean; NaN where one is."""
    values = list(values)
    return math.fsum(values) / len(values)
