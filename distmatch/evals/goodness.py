"""Whether samples fit probabilities."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

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

    Outcomes with fewer than 5 expected samples are counted together.

    Args:
        counts: Of each distribution how often each outcome came up.
        probs: Of each distribution its probabilities, with sum 1.
    """
    cells: list[tuple[float, float]] = []
    freedom = 0
    for observed, prob in zip(counts, probs, strict=True):
        total = sum(observed)
        pairs = [(float(count), total * p) for count, p in zip(observed, prob, strict=True)]
        kept = _pooled(pairs)
        cells += kept
        freedom += len(kept) - 1
    statistic = sum((count - expected) ** 2 / expected for count, expected in cells)
    halves = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    p_value = torch.special.gammaincc(*halves).item() if freedom else 1.0
    return Goodness(statistic, freedom, p_value)


def _pooled(pairs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Observed and expected, those of few expected as one cell; joined to the last if still few."""
    large = [pair for pair in pairs if pair[1] >= _LEAST_EXPECTED]
    small = [pair for pair in pairs if pair[1] < _LEAST_EXPECTED]
    rest = (sum(count for count, _ in small), sum(expected for _, expected in small))
    if rest[1] >= _LEAST_EXPECTED or not large:
        return [*large, rest]
    *others, last = large
    return [*others, (last[0] + rest[0], last[1] + rest[1])]
