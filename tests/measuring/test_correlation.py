"""Rank correlations and their p-values, against textbooks and brute force."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from distmatch.measuring.correlation import correlation_shares, permutation_p, rank_correlation

RNG = np.random.default_rng(3)
PAIRS = [
    ([1, 2, 3, 4], [1, 2, 3, 4]),
    ([1, 2], [5, 3]),
    ([1, 2, 3, 4], [2, 4, 1, 3]),  # no correlation at all
    ([1, 2, 2, 4], [10, 20, 20, 90]),
    ([0, 0, 0, 1], [0.3, 0.1, 0.1, 0.1]),
    *((RNG.random(6).tolist(), RNG.random(6).tolist()) for _ in range(4)),
    *((RNG.integers(0, 3, 6).tolist(), RNG.integers(0, 4, 6).tolist()) for _ in range(8)),
]


def exact_p(first, second):
    """The share of all orders that are as far from none, in whole numbers and fractions."""

    def centred(values):
        ranks = [2 * sum(a < b for a in values) + sum(a == b for a in values) for b in values]
        return [rank - Fraction(sum(ranks), len(ranks)) for rank in ranks]

    def strength(a, b):
        return abs(sum(x * y for x, y in zip(a, b, strict=True)))

    a, b = centred(first), centred(second)
    others = [strength(order, b) for order in itertools.permutations(a)]
    return sum(other >= strength(a, b) for other in others) / len(others)


def test_rank_correlations_are_the_textbook_ones():
    iq = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    hours = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert rank_correlation(iq, hours) == pytest.approx(-29 / 165)  # Spearman's, without ties
    assert rank_correlation([1, 2, 2, 4], [10, 20, 20, 90]) == pytest.approx(1)
    assert rank_correlation([1, 2, 2], [3, 1, 2]) == pytest.approx(-math.sqrt(3) / 2)


@pytest.mark.parametrize("alike", [[], [5], [5, 5, 5]])
def test_what_is_alike_has_no_correlation(alike):
    others = list(range(len(alike)))
    for pair in ((alike, others), (others, alike)):
        assert math.isnan(rank_correlation(*pair)) and math.isnan(permutation_p(*pair))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_of_few_values_every_order_counts(first, second):
    assert permutation_p(first, second) == pytest.approx(exact_p(first, second), abs=1e-12)


def test_of_many_values_random_orders_count_always_the_same():
    rng = np.random.default_rng(5)
    first = rng.random(40)
    second = (first + 4 * rng.random(40)).tolist()
    found = permutation_p(first.tolist(), second)
    assert found == permutation_p(first.tolist(), second)
    by_student = spearmanr(first, second).pvalue  # close for so many values
    assert 0.01 < by_student < 0.3 and found == pytest.approx(by_student, abs=0.01)


def test_chance_gives_a_correlation_as_often_as_it_is_said():
    rng = np.random.default_rng(0)
    sizes = list(range(12))
    found = [permutation_p(sizes, rng.random(12).tolist()) for _ in range(200)]
    assert np.mean(np.array(found) < 0.2) == pytest.approx(0.2, abs=0.09)


@pytest.mark.parametrize(("first", "second"), [pair for pair in PAIRS if len(pair[0]) > 2])
def test_the_mean_share_is_the_rank_correlation(first, second):
    shares = correlation_shares(first, second)
    assert shares.mean() == pytest.approx(rank_correlation(first, second))


def test_what_is_held_fixed_makes_it_the_partial_correlation():
    """By the inverse of the ranks' correlation matrix."""
    first, second, third, fourth = (RNG.random((4, 12)) + RNG.random(12)).tolist()
    precision = np.linalg.inv(np.corrcoef([rankdata(x) for x in (first, second, third, fourth)]))
    wanted = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    shares = correlation_shares(first, second, given=(third, fourth))
    assert shares.mean() == pytest.approx(wanted)
    assert shares.mean() != pytest.approx(rank_correlation(first, second), abs=0.01)


def test_where_nothing_is_left_there_is_nothing_to_correlate():
    rising, cubes, drawn = list(range(8)), [n**3 for n in range(8)], RNG.random(8).tolist()
    assert correlation_shares(cubes, drawn, given=[rising]).tolist() == [0] * 8
    assert correlation_shares([1] * 8, drawn).tolist() == [0] * 8
    assert np.isnan(correlation_shares(drawn, cubes, given=[rising])).all()
    assert np.isnan(correlation_shares([np.nan] * 8, drawn)).all()
