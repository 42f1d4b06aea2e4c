"""Whether values rise together: Spearman's rank correlation, and how likely it is by chance."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_MOST_PERMUTED = 8
_DRAWN_ORDERS = 10_000


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
