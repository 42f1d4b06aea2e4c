"""Metrics over examples with bootstrap intervals, and differences between two models' metrics.

Every metric is a sum over examples divided by another, so one set of resamples serves them all,
and a difference is taken within each resample (Efron & Tibshirani 1993, chapters 13 and 8).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CONFIDENCE = 0.95
_CHUNK = 1 << 22

Ratios = Mapping[str, tuple[Float[np.ndarray, " examples"], Float[np.ndarray, " examples"]]]
"""Each metric's numerators and denominators; an example counts where its denominator isn't 0."""


class Interval(NamedTuple):
    """A metric over all examples, and where 95 % of its bootstrap resamples lie.

    NaN where no example has the metric.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Three digits, as in the tables."""
        if not math.isfinite(self.mean):
            return "-" if math.isnan(self.mean) else f"{self.mean}"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval_text(interval: Interval) -> str:
    """An interval, or the mean alone where there is none."""
    if not math.isfinite(interval.mean):
        return "-"
    return str(interval) if math.isfinite(interval.low) else f"{interval.mean:.3f}"


def clustered(
    ratios: Ratios, clusters: Sequence[str]
) -> Mapping[str, tuple[Float[np.ndarray, " clusters"], Float[np.ndarray, " clusters"]]]:
    """The ratios of what is resampled: of clusters their sums, without clusters each example."""
    if not clusters:
        return ratios
    _, cluster = np.unique(clusters, return_inverse=True)
    return {
        name: (np.bincount(cluster, top), np.bincount(cluster, bottom))
        for name, (top, bottom) in ratios.items()
    }


def intervals(ratios: Ratios, num_resamples: int, seed: int) -> dict[str, Interval]:
    """Percentile bootstrap of every metric, all on the same resamples of the examples."""
    means, draws = _resampled(ratios, num_resamples, seed)
    return _named(ratios, means, draws)


def paired_differences(
    first: Ratios, second: Ratios, num_resamples: int, seed: int
) -> dict[str, Interval]:
    """Second minus first of every metric that both have, for the same examples in the same order.

    Both are taken on the same resamples, so what makes an example hard for both cancels.
    """
    shared = [name for name in first if name in second]
    parts = [_resampled({n: r[n] for n in shared}, num_resamples, seed) for r in (first, second)]
    (first_means, first_draws), (second_means, second_draws) = parts
    with np.errstate(invalid="ignore"):  # infinite minus infinite
        return _named(shared, second_means - first_means, second_draws - first_draws)


def _resampled(
    ratios: Ratios, num_resamples: int, seed: int
) -> tuple[Float[np.ndarray, " metrics"], Float[np.ndarray, "resamples metrics"]]:
    """Every metric over all examples, and over each resample of them."""
    numerators = np.stack([top for top, _ in ratios.values()], axis=1, dtype=float)
    denominators = np.stack([bottom for _, bottom in ratios.values()], axis=1, dtype=float)
    size = len(numerators)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // size)
    draws = [np.empty((0, len(ratios)))]
    with np.errstate(divide="ignore", invalid="ignore"):
        means = numerators.sum(0) / denominators.sum(0)
        for start in range(0, num_resamples, chunk):
            count = min(chunk, num_resamples - start)
            weights = rng.multinomial(size, np.full(size, 1 / size), size=count).astype(float)
            draws.append((weights @ numerators) / (weights @ denominators))
    return means, np.concatenate(draws)


def _named(names: Iterable[str], means: np.ndarray, draws: np.ndarray) -> dict[str, Interval]:
    return {name: _interval(float(means[i]), draws[:, i]) for i, name in enumerate(names)}


def _interval(mean: float, draws: np.ndarray) -> Interval:
    draws = draws[np.isfinite(draws)]  # a resample may hold no example that has the metric
    if not math.isfinite(mean) or not len(draws):
        return Interval(mean, math.nan, math.nan)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Interval(mean, float(low), float(high))
