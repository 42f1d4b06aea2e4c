"""Adjusted p of many differences, against scipy's permutation test of the largest statistic."""

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_ind

from distmatch.measuring.max_t import max_t


def largest(first, second, axis=-1):
    """Of the absolute Welch t of all respects; units are the last axis."""
    return np.abs(ttest_ind(first, second, axis=axis, equal_var=False).statistic).max(axis=-1)


def test_the_largest_difference_has_the_p_of_the_largest_statistic():
    rng = np.random.default_rng(1)
    none, trained = rng.normal(size=(2, 4, 3))
    trained[:, 1] += 1.5
    found = max_t({"none": none, "trained": trained}, "none", orders=20_000)["trained"]

    def statistic(rows, others, axis):
        """Units' numbers are permuted; each stands for a row of values."""
        values = np.concatenate([none, trained])
        of = [values[np.asarray(some, int)] for some in (rows, others)]
        of = [np.moveaxis(part, np.ndim(rows) - 1 if axis < 0 else axis, -1) for part in of]
        return largest(*of)

    exact = permutation_test(
        (np.arange(4), np.arange(4, 8)), statistic, alternative="greater", vectorized=True
    )
    assert found.argmin() == 1
    assert found[1] == pytest.approx(exact.pvalue, abs=0.02)


def test_with_nothing_there_few_matrices_hold_anything():
    """5 % and three standard errors of 200 at most."""
    rng, held = np.random.default_rng(0), 0
    for seed in range(200):
        groups = {name: rng.normal(size=(4, 5)) for name in ("none", "a", "b", "c")}
        adjusted = max_t(groups, "none", seed=seed, orders=200)
        held += min(p.min() for p in adjusted.values()) <= 0.05
    assert held <= 20


def test_what_is_far_off_is_found_and_what_does_not_vary_says_nothing():
    rng = np.random.default_rng(0)
    groups = {name: rng.normal(size=(6, 2)) for name in ("none", "a")}
    groups["a"][:, 0] += 8
    groups["none"][:, 1] = groups["a"][:, 1] = 0.5
    found = max_t(groups, "none", orders=1000)["a"]
    assert found[0] < 0.02
    assert np.isnan(found[1])


@pytest.mark.parametrize("bad", [np.ones((1, 2)), np.full((3, 2), np.nan)])
def test_too_few_units_and_missing_values_are_refused(bad):
    with pytest.raises(ValueError, match=r"two units|finite"):
        max_t({"none": np.ones((3, 2)), "a": bad}, "none")
