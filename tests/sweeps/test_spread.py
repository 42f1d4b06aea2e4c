"""Student's intervals from a pooled spread, on numbers worked by hand."""

import math

import pytest

from distmatch.sweeps.spread import pooled_spread, student_interval


def test_the_spread_is_pooled_by_hand():
    # Within: (1, 3): 1 + 1; (4,): 0; (0, 3, 6): 9 + 0 + 9. Sum 20 over 1 + 0 + 2 degrees.
    assert pooled_spread([[1, 3], [4], [0, 3, 6]]) == (pytest.approx(math.sqrt(20 / 3)), 3)


@pytest.mark.parametrize(  # 97.5 % quantiles of Student's t, from tables
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (5, 2.571), (10, 2.228), (30, 2.042)]
)
def test_the_interval_is_students(freedom, quantile):
    mean, low, high = student_interval([1.0, 2.0, 3.0, 6.0], 0.5, freedom)
    assert mean == 3.0
    half = pytest.approx(quantile * 0.5 / 2, rel=1e-3)
    assert (high - mean, mean - low) == (half, half)


def test_without_two_of_anything_there_is_no_spread():
    spread, freedom = pooled_spread([[1.0], [2.0]])
    assert math.isnan(spread) and freedom == 0
    assert math.isnan(student_interval([1.0], spread, freedom).low)
