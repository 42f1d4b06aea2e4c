"""Pearson's test: known numbers, and how often it is wrong."""

import numpy as np
import pytest
from goodness import goodness_of_fit

from distmatch.errors import DataError


def test_a_die_of_the_textbook():
    # On 5 degrees of freedom the tables have 12.83 for 0.025 and 15.09 for 0.01
    fit = goodness_of_fit([[5, 8, 9, 8, 10, 20]], [[1 / 6] * 6])
    assert fit.statistic == pytest.approx(13.4) and fit.freedom == 5
    assert 0.01 < fit.p_value < 0.025
    assert str(fit) == "chi-square 13.4 on 5 degrees of freedom, p = 0.020"


def test_several_distributions_add_up():
    both = goodness_of_fit([[60, 40], [45, 55]], [[0.5, 0.5], [0.5, 0.5]])
    assert (both.statistic, both.freedom) == (pytest.approx(4 + 1), 2)
    assert both.p_value == pytest.approx(np.exp(-2.5))  # chi-square of 2 is exponential


def test_rare_outcomes_count_together():
    # 2 + 3 expected make a cell of 5; 1 expected alone joins the last one
    assert goodness_of_fit([[90, 5, 5]], [[0.95, 0.02, 0.03]]).freedom == 1
    assert goodness_of_fit([[50, 49, 1]], [[0.5, 0.49, 0.01]]).freedom == 1
    nothing = goodness_of_fit([[100, 0]], [[0.99, 0.01]])
    assert (nothing.freedom, nothing.p_value) == (0, 1.0)


def test_samples_that_fit_are_refused_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    probs = [[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]]
    p_values = [
        goodness_of_fit([rng.multinomial(200, p).tolist() for p in probs], probs).p_value
        for _ in range(2000)
    ]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_samples_of_another_distribution_are_refused():
    rng = np.random.default_rng(1)
    counts = [rng.multinomial(500, [0.4, 0.6]).tolist()]
    assert goodness_of_fit(counts, [[0.5, 0.5]]).p_value < 1e-3


def test_an_impossible_sample_fits_nothing():
    fit = goodness_of_fit([[50, 50], [50, 0, 50]], [[0.5, 0.5], [0.5, 0.5, 0]])
    assert fit.p_value == 0 and fit.statistic == float("inf")
    assert goodness_of_fit([[50, 50, 0]], [[0.5, 0.5, 0]]).statistic == 0
    with pytest.raises(DataError, match="no samples"):
        goodness_of_fit([[0, 0]], [[0.5, 0.5]])
