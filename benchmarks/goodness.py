"""Whether samples fit probabilities."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from distmatch.errors import DataError

_IMPOSSIBLE = 1e-9  # expected samples, within rounding
_LEAST_EXPECTED = 5.0  # of a cell, below which the statistic is no chi-square


class Goodness(NamedTuple):
    """Pearson's chi-square statistic, and how likely a larger one is if the samples fit."""

    statistic: float
    freedom: int
    p_value: float

    def __str__(self) -> str:
        """As a line of text."""
        return (
            f"chi-square {self.statistic:.1f} on {self.freedom} degrees of freedom, "
            f"p = {self.p_value:.3f}"
        )


def goodness_of_fit(counts: Iterable[Sequence[int]], probs: Iterable[Sequence[float]]) -> Goodness:
    """Pearson's test of samples from several distributions at once, such as a suite's prompts.

    Outcomes with fewer than 5 expected samples are counted together. Samples of an outcome with
    probability 0 fit nothing: the statistic is infinite.

    Args:
        counts: Of each distribution how often each outcome came up.
        probs: Of each distribution its probabilities, with sum 1.

    Raises:
        DataError: A distribution without samples.
    """
    cells: list[tuple[float, float]] = []
    freedom = 0
    for observed, prob in zip(counts, probs, strict=True):
        total = sum(observed)
        if not total:
            raise DataError(f"there are no samples of the probabilities {list(prob)[:8]}")
        pairs = [(float(count), total * p) for count, p in zip(observed, prob, strict=True)]
        if any(count and expected < _IMPOSSIBLE for count, expected in pairs):
            return Goodness(math.inf, len(pairs) - 1, 0.0)
        kept = _pooled(pairs)
        cells += kept
        freedom += len(kept) - 1
    statistic = sum((count - expected) ** 2 / expected for count, expected in cells)
    halves = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    p_value = torch.special.gammaincc(*halves).item() if freedom else 1.0
    return Goodness(statistic, freedom, p_value)


def _pooled(pairs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Observed and expected, those of few expected as one cell; if still few, with the least."""
    large = [pair for pair in pairs if pair[1] >= _LEAST_EXPECTED]
    small = [pair for pair in pairs if pair[1] < _LEAST_EXPECTED]
    rest = (sum(count for count, _ in small), sum(expected for _, expected in small))
    if rest[1] >= _LEAST_EXPECTED or not large:
        return [*large, rest]
    least, *others = sorted(large, key=lambda pair: pair[1])
    return [*others, (least[0] + rest[0], least[1] + rest[1])]
