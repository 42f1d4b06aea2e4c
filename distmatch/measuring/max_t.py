"""Several groups against one, in several respects: which differences stand among that many?

The largest of many statistics is large by chance, so each is held against the largest of all under
permuted labels (Westfall & Young, "Resampling-Based Multiple Testing", 1993, maxT in one step).
"""

from collections.abc import Mapping
from itertools import accumulate, pairwise

import numpy as np
from jaxtyping import Float

_ORDERS = 10_000
_MOST_AT_ONCE = 200

Values = Float[np.ndarray, "units respects"]


def max_t(
    groups: Mapping[str, Values], reference: str, *, seed: int = 0, orders: int = _ORDERS
) -> dict[str, Float[np.ndarray, " respects"]]:
    """Of every group but the reference an adjusted p in each respect; two-sided.

    The statistic is Welch's t of the difference from the reference. NaN where it has no spread to
    be held against. Units are exchanged between all groups, the reference among them.

    Args:
        groups: Of each its units' values, one a respect; finite, of two units or more.
        reference: Whose.
        seed: Of the permutations.
        orders: How many of them.

    Raises:
        ValueError: A group of one unit, or values that aren't finite.
    """
    if any(len(values) < 2 for values in groups.values()):
        raise ValueError("every group needs two units or more")
    pooled = np.concatenate(list(groups.values()))
    if not np.isfinite(pooled).all():
        raise ValueError("values must be finite")
    ends = [0, *accumulate(map(len, groups.values()))]
    spans = dict(zip(groups, pairwise(ends), strict=True))
    found = _statistics(pooled[None], spans, reference)[0]
    rng, counts = np.random.default_rng(seed), np.ones_like(found)
    for start in range(0, orders, _MOST_AT_ONCE):
        size = min(_MOST_AT_ONCE, orders - start)
        order = rng.permuted(np.tile(np.arange(len(pooled)), (size, 1)), axis=1)
        highest = np.nanmax(_statistics(pooled[order], spans, reference), axis=(1, 2))
        counts += (highest[:, None, None] >= found - 1e-9).sum(axis=0)
    adjusted = np.where(np.isfinite(found), counts / (orders + 1), np.nan)
    others = [name for name in groups if name != reference]
    return dict(zip(others, adjusted, strict=True))


def _statistics(
    pooled: Float[np.ndarray, "orders units respects"],
    spans: Mapping[str, tuple[int, int]],
    reference: str,
) -> Float[np.ndarray, "orders groups respects"]:
    """The absolute t of every group but the reference."""
    parts = {name: pooled[:, start:end] for name, (start, end) in spans.items()}
    means = {name: part.mean(axis=1) for name, part in parts.items()}
    errors = {name: part.var(axis=1, ddof=1) / part.shape[1] for name, part in parts.items()}
    statistics = []
    for name in spans:
        if name == reference:
            continue
        apart = np.abs(means[name] - means[reference])
        error = np.sqrt(errors[name] + errors[reference])
        has_spread = error > 1e-12 * np.maximum(np.abs(means[name]), 1e-300)
        t = np.divide(apart, error, out=np.full_like(apart, np.nan), where=has_spread)
        statistics.append(t)
    return np.stack(statistics, axis=1)
