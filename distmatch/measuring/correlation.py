"""Whether values rise together: Spearman's rank correlation, and how likely it is by chance."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_MOST_PERMUTED = 8
_DRAWN_ORDERS = 10_000
_NOTHING_LEFT = 1e-9
"""Of a rank."""


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: Pearson's correlation of the ranks, ties with their mean rank; NaN without any.

    Args:
        first: Values.
        second: As many.
    """
    from scipy.stats import spearmanr  # takes a second to import

    if _is_constant(first) or _is_constant(second):
        return math.nan
    return float(spearmanr(first, second).statistic)


def correlation_shares(
    first: Sequence[float], second: Sequence[float], *, given: Sequence[Sequence[float]] = ()
) -> Float[np.ndarray, " values"]:
    """What each pair of values adds to Spearman's correlation, of which it is the mean.

    Args:
        first: Values.
        second: As many.
        given: Of the same, what is held fixed: the correlation is the partial one, that of what
            least squares on the ranks of these leave of both ranks.

    Returns:
        The shares: 0 where nothing is left of the first, NaN where nothing is left of the second.
    """
    if not np.isfinite([*first, *second]).all():
        return np.full(len(first), np.nan)
    known = np.array([np.ones(len(first)), *map(_centred_ranks, given)]).T
    both = np.array([_centred_ranks(first), _centred_ranks(second)]).T
    left = both - known @ np.linalg.lstsq(known, both, rcond=None)[0]
    sizes = np.sqrt((left**2).mean(axis=0))
    is_left = sizes > _NOTHING_LEFT * len(first)
    if not is_left.all():
        return np.full(len(first), 0.0 if is_left[1] else np.nan)
    return np.asarray((left / sizes).prod(axis=1))


def permutation_p(first: Sequence[float], second: Sequence[float]) -> float:
    """How likely a rank correlation at least so far from 0 is, if the values go together by chance.

    Over all orders where there are few, else over 10,000 random ones. NaN where there is no
    correlation.
    """
    from scipy.stats import permutation_test

    if _is_constant(first) or _is_constant(second):
        return math.nan
    ranks, others = _centred_ranks(first), _centred_ranks(second)
    is_short = len(first) <= _MOST_PERMUTED
    return permutation_test(
        (ranks,),
        lambda orders, axis: np.abs((orders * others).sum(axis)),  # rises with the correlation
        permutation_type="pairings",
        alternative="greater",
        n_resamples=math.factorial(len(first)) if is_short else _DRAWN_ORDERS,
        vectorized=True,
        rng=np.random.default_rng(0),
    ).pvalue.item()


def _is_constant(values: Sequence[float]) -> bool:
    return len(set(values)) < 2


def _centred_ranks(values: Sequence[float]) -> Float[np.ndarray, " values"]:
    """Twice the ranks, less their mean: whole numbers, so that equal sums are equal to the bit."""
    from scipy.stats import rankdata

    return 2 * rankdata(values) - (len(values) + 1)
