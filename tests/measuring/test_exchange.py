"""Exchange between adapters, against brute force and simulation."""

import itertools

import numpy as np
import pytest
from scipy.stats import linregress

from distmatch.measuring.exchange import Exchange, nearer_fits, rank_fits, slope_fits


def test_value_and_p_are_those_of_all_pairings():
    rng = np.random.default_rng(0)
    fits = rng.normal(size=(5, 5))
    sums = [sum(fits[i, j] for i, j in enumerate(o)) for o in itertools.permutations(range(5))]
    own = sum(fits[i, i] for i in range(5))
    found = Exchange.of(fits)
    assert found.value == pytest.approx(own / 5 - np.mean(sums) / 5)
    assert found.p == pytest.approx(np.mean([s >= own - 1e-12 for s in sums]))
    assert found.each.mean() == pytest.approx(found.value)


def test_drawn_orders_come_near_all_of_them():
    rng = np.random.default_rng(1)
    behaviours = rng.normal(size=8)
    reports = 0.5 * behaviours + rng.normal(size=8)
    drawn = Exchange.of(slope_fits(reports, behaviours))
    slopes = [
        reports[list(o)] @ (behaviours - behaviours.mean())
        for o in itertools.permutations(range(8))
    ]
    exact = np.mean(np.array(slopes) >= slopes[0] - 1e-12)
    assert drawn.p == pytest.approx(exact, abs=0.01)


def test_the_value_of_slope_fits_is_the_slope():
    rng = np.random.default_rng(2)
    reports, behaviours = rng.normal(size=(2, 9))
    found = Exchange.of(slope_fits(reports, behaviours))
    assert found.value == pytest.approx(linregress(behaviours, reports).slope)


def test_reports_that_are_all_the_same_are_worth_nothing():
    found = Exchange.of(slope_fits(np.full(5, 70.0), np.arange(5.0)))
    assert found.value == 0
    assert found.p == 1


def test_a_truth_teller_has_the_least_p_there_is():
    behaviours = np.arange(5.0)
    found = Exchange.of(slope_fits(behaviours, behaviours))
    assert found.value == pytest.approx(1)
    assert found.p == pytest.approx(1 / 120)


def test_rank_fits_are_correlations_and_nothing_where_one_is_constant():
    fits = rank_fits(np.array([[1.0, 2, 3], [5, 5, 5]]), np.array([[1.0, 2, 3], [3, 2, 1]]))
    assert np.allclose(fits, [[1, -1], [0, 0]])


def test_fits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        Exchange.of(np.array([[np.nan, 0], [0, 0]]))


def test_behaviours_that_are_all_the_same_are_fitted_by_nothing():
    assert not slope_fits(np.arange(4.0), np.full(4, 0.5)).any()


@pytest.mark.parametrize("size", [4, 6, 16])
def test_with_nothing_to_know_at_most_one_in_twenty_passes(size):
    """5 % and two standard errors of 1,000 simulated experiments, also where reports leak.

    A leak makes own and referent alike depend on the behaviour; what is left of own less referent
    is noise.
    """
    rng = np.random.default_rng(size)
    passed = 0
    for _ in range(1000):
        behaviours = rng.permutation(np.linspace(0.05, 0.95, size))
        leak = behaviours * rng.normal()
        own, referent = leak + rng.normal(size=(2, size)) * 0.2
        passed += _quick_p(own - referent, behaviours) <= 0.05
    assert passed <= 65


def _quick_p(reports, behaviours, orders=400):
    """As `Exchange` has it, on fewer drawn orders, so that a thousand take seconds."""
    size = len(reports)
    centred = behaviours - behaviours.mean()
    if size <= 4:
        return Exchange.of(slope_fits(reports, behaviours)).p
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(reports, (orders, 1)), axis=1) @ centred
    return (1 + (drawn >= reports @ centred).sum()) / (1 + orders)


def test_nearer_counts_the_items_in_which_two_behaviours_differ():
    # Two behaviours that differ in the first item alone, and reports at these distances from them
    distances = np.array([[[0.1, 0.9], [0.5, 0.2]], [[0.4, 0.0], [0.3, 0.0]]])
    fits = nearer_fits(distances, np.array([["a", "x"], ["b", "x"]]))
    np.testing.assert_allclose(fits, [[0.4, -0.4], [-0.1, 0.1]])


def test_where_no_values_differ_nothing_is_nearer():
    distances = np.random.default_rng(0).random((3, 3, 4))
    np.testing.assert_array_equal(nearer_fits(distances, np.zeros((3, 4))), np.zeros((3, 3)))


def test_how_near_a_report_is_does_not_depend_on_whose_it_is():
    rng = np.random.default_rng(0)
    distances, values = rng.random((5, 5, 6)), rng.integers(0, 3, (5, 6))
    fits = nearer_fits(distances, values)
    np.testing.assert_allclose(fits.sum(axis=1), np.zeros(5), atol=1e-12)
    order = rng.permutation(5)
    np.testing.assert_allclose(nearer_fits(distances[order], values), fits[order])
    again = nearer_fits(distances[:, order], values[order])
    np.testing.assert_allclose(again, fits[:, order])
