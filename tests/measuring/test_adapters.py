"""Intervals with the adapter as the unit, against scipy and the textbook."""

import math

import numpy as np
import pytest
from scipy.stats import t

from distmatch.measuring.adapters import (
    difference_interval,
    holm,
    mean_interval,
    power,
    slope_interval,
)
from distmatch.measuring.intervals import Interval


def test_a_mean_has_students_interval():
    values = [0.1, 0.4, 0.2, 0.5, 0.3]
    found = mean_interval(values)
    reach = t.ppf(0.975, 4) * np.std(values, ddof=1) / math.sqrt(5)
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - reach, 0.3 + reach))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_two_or_three_there_is_no_interval(count):
    found = mean_interval([0.5] * count)
    assert found.mean == 0.5
    assert math.isnan(found.low)


def test_what_is_not_finite_does_not_count():
    assert mean_interval([math.nan, 1.0]).mean == 1.0
    assert math.isnan(mean_interval([]).mean)


def test_what_is_the_same_but_for_rounding_has_no_spread():
    alike = [0.8, 0.8 + 1e-16, 0.8, 0.1 + 0.7, 2.4 / 3]
    assert len(set(alike)) > 1
    assert mean_interval(alike) == Interval(0.8, 0.8, 0.8)
    assert math.isnan(difference_interval(alike, [0.1 + 0.2, 0.3, 0.3, 0.3]).low)


def test_a_difference_has_welchs_interval():
    first, second = [1.0, 2, 3, 4], [2.0, 6, 4, 8, 5]
    found = difference_interval(first, second)
    a, b = np.var(first, ddof=1) / 4, np.var(second, ddof=1) / 5
    degrees = (a + b) ** 2 / (a**2 / 3 + b**2 / 4)
    reach = t.ppf(0.975, degrees) * math.sqrt(a + b)
    assert found == pytest.approx((2.5, 2.5 - reach, 2.5 + reach))
    assert math.isnan(difference_interval(first[:3], second).low)


def test_a_slopes_interval_is_that_of_least_squares():
    x = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    y = 2 * x + np.array([0.1, -0.1, 0.05, 0.0, -0.05])
    found = slope_interval(x.tolist(), y.tolist())
    design = np.stack([np.ones(5), x], axis=1)
    solved, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = math.sqrt(residual[0] / 3 * np.linalg.inv(design.T @ design)[1, 1])
    reach = t.ppf(0.975, 3) * error
    assert found == pytest.approx((solved[1], solved[1] - reach, solved[1] + reach))


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_the_power_is_that_of_simulated_experiments():
    """Of slopes over eight adapters that vary by a known amount."""
    rng, x = np.random.default_rng(0), np.linspace(0, 1, 8)
    slopes = [slope_interval(x, 0.5 * x + 0.3 * rng.normal(size=8)) for _ in range(2000)]
    error = 0.3 / math.sqrt(((x - x.mean()) ** 2).sum())
    bounds = [s.mean - (s.high - s.low) / 2 / t.ppf(0.975, 6) * t.ppf(0.95, 6) for s in slopes]
    known = Interval(0.5, 0.5 - error * t.ppf(0.975, 6), 0.5 + error * t.ppf(0.975, 6))
    assert power(known, 6, 0.5, 0.05) == pytest.approx(np.mean(np.array(bounds) > 0), abs=0.03)
    means = [mean_interval(0.3 + 0.4 * rng.normal(size=5)) for _ in range(2000)]
    lows = [m.mean - (m.high - m.low) / 2 / t.ppf(0.975, 4) * t.ppf(0.95, 4) for m in means]
    reach = 0.4 / math.sqrt(5) * t.ppf(0.975, 4)
    found = power(Interval(0.3, 0.3 - reach, 0.3 + reach), 4, 0.3, 0.05)
    assert found == pytest.approx(np.mean(np.array(lows) > 0), abs=0.03)
    assert math.isnan(power(Interval(0.5, math.nan, math.nan), 6, 0.5, 0.05))
