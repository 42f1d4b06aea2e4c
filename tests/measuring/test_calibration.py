"""What a calibration figure shows, of plain arrays."""

import math
import random

import numpy as np
import pytest

from distmatch.measuring.calibration import Calibration

NAN = math.nan


def pairs(asked, given):
    return [np.array([[p, 1 - p] for p in side]) for side in (asked, given)]


def test_slope_and_tvd_are_worked_by_hand():
    # Through (1/2, 1/2): (.4*.2 + (-.3)*0 + .1*(-.2)) / (.16 + .09 + .01) = .06 / .26
    found = Calibration.of(*pairs([0.9, 0.2, 0.6], [0.7, 0.5, 0.3]), np.array([0.1, 0.2, 0.6]))
    assert found.slope == pytest.approx(0.06 / 0.26)
    assert found.control_tvd == pytest.approx((0.2 + 0.3 + 0.3) / 3)
    assert found.other == pytest.approx(0.3)


def test_bins_are_tenths_with_three_words_or_more():
    asked, given = pairs([0.03, 0.05, 0.07, 0.41, 1.0], [0.1, 0.3, 0.2, 0.9, 0.8])
    bins = Calibration.of(asked, given).bins
    np.testing.assert_allclose(bins[:, :2], [[0.0375, 0.2], [0.9625, 0.8]])  # 0 and 1 in the ends


def test_the_interval_of_a_bin_is_that_of_resampling_one_by_one():
    rng = random.Random(0)
    first = [rng.uniform(0.5, 0.6) for _ in range(20)]
    given = [rng.random() for _ in range(20)]
    draws = sorted(
        math.fsum(given[row] for row in rng.choices(range(20), k=20)) / 20 for _ in range(3000)
    )
    _, high_bin = Calibration.of(*pairs(first, given), num_resamples=3000).bins
    assert high_bin[1] == pytest.approx(math.fsum(given) / 20)
    assert list(high_bin[2:]) == pytest.approx([draws[75], draws[2925]], abs=0.02)


def test_examples_of_one_cluster_are_resampled_together():
    asked, given = pairs([0.55] * 4, [0.1, 0.2, 0.3, 0.4])
    alone = Calibration.of(asked, given).bins
    together = Calibration.of(asked, given, clusters=["a"] * 4).bins
    np.testing.assert_allclose(together[:, 2], together[:, 1])
    assert (alone[:, 2] < alone[:, 1]).all()


def test_what_is_not_said_counts_nowhere():
    asked = np.array([[0.7, 0.3, NAN], [NAN, NAN, NAN], [0.2, 0.3, 0.5]])
    given = np.array([[0.6, 0.4, NAN], [0.5, 0.5, NAN], [0.2, 0.3, 0.5]])
    found = Calibration.of(asked, given)
    assert found.control_tvd == pytest.approx(0.05)
    assert found.other is None
    nothing = Calibration.of(asked[1:2], given[1:2])
    assert math.isnan(nothing.slope) and math.isnan(nothing.control_tvd)
    assert nothing.bins.shape == (0, 4)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_equal_probabilities_have_no_slope(count):
    asked = np.full((3, count), 1 / count)
    assert math.isnan(Calibration.of(asked, np.random.default_rng(0).random((3, count))).slope)
