"""Bounds against brute force: grids, random points, and an oracle by enumeration."""

import itertools
import math

import numpy as np
import pytest
from scipy.special import betaincinv

from distmatch.evals.backends.bounds import Bounds, clopper_pearson, over_words, tvd_bounds


def boxes(seed, count):
    """Bounds around a random distribution, and a target."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size = int(rng.integers(2, 5))
        inside, target = rng.dirichlet(np.ones(size), size=2)
        width = rng.choice([0.0, 0.05, 0.5], size=(2, size)) * rng.random((2, size))
        yield np.clip(inside - width[0], 0, 1), np.clip(inside + width[1], 0, 1), target


def vertices(low, high):
    """Where a box meets the plane of sum 1: all coordinates but one are at a bound."""
    size = len(low)
    for free in range(size):
        others = [k for k in range(size) if k != free]
        for ends in itertools.product((0, 1), repeat=size - 1):
            point = np.zeros(size)
            point[others] = [(low, high)[end][k] for end, k in zip(ends, others, strict=True)]
            point[free] = 1 - point.sum()
            if low[free] - 1e-12 <= point[free] <= high[free] + 1e-12:
                yield point


def tvd(point, target):
    return 0.5 * math.fsum(abs(a - b) for a, b in zip(point, target, strict=True))


def test_the_largest_tvd_is_no_larger_than_the_bound():
    """A convex function is largest at a vertex, so the vertices tell."""
    for low, high, target in boxes(0, 300):
        largest = max(tvd(point, target) for point in vertices(low, high))
        assert largest <= tvd_bounds(low, high, target)[1] + 1e-9


def test_the_smallest_tvd_is_reached_and_never_undercut():
    rng = np.random.default_rng(1)
    for low, high, target in boxes(1, 100):
        corners = np.array(list(vertices(low, high)))
        mixed = rng.dirichlet(np.full(len(corners), 0.3), size=300) @ corners
        least, most = tvd_bounds(low, high, target)
        values = [tvd(point, target) for point in (*corners, *mixed)]
        assert least <= min(values) + 1e-9 and max(values) <= most + 1e-9
        assert least == pytest.approx(projected(low, high, target), abs=1e-6)


def projected(low, high, target):
    """The least TVD by moving mass in small parts, each where it costs least."""
    point = np.clip(target, low, high)
    for _ in range(10_000):
        rest = 1 - point.sum()
        if abs(rest) < 1e-12:
            break
        room = (high - point) if rest > 0 else (point - low)
        gain = np.sign(rest) * (target - point)  # what moving that way wins back
        best = max(np.flatnonzero(room > 1e-12), key=lambda k: gain[k])
        point[best] += np.sign(rest) * min(abs(rest), room[best], 0.01)
    return tvd(point, target)


def test_exact_bounds_give_the_tvd_itself():
    probs, target = np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.5, 0.0])
    assert tvd_bounds(probs, probs, target) == pytest.approx((0.2, 0.2))


def test_what_is_wholly_unknown_says_nothing():
    target = np.array([0.7, 0.3, 0.0])
    assert tvd_bounds(np.zeros(3), np.ones(3), target) == pytest.approx((0, 1))


def test_the_estimate_is_between_its_bounds_and_sums_to_one():
    for low, high, _ in boxes(2, 100):
        point = Bounds.between(low, high).point
        assert point.sum() == pytest.approx(1)
        assert (low - 1e-12 <= point).all() and (point <= high + 1e-12).all()
    assert Bounds.between(np.array([0.2, 0.4]), np.array([0.4, 0.8])).point == pytest.approx(
        [0.2 + 0.2 * 2 / 3, 0.4 + 0.4 * 2 / 3]
    )


def test_bounds_over_the_words_hold_whatever_is_between():
    for low, high, _ in boxes(3, 100):
        smallest, largest = over_words(low, high)
        for point in vertices(low, high):
            total = point[:-1].sum()
            if total > 1e-9:
                assert (smallest[:-1] <= point[:-1] / total + 1e-9).all()
                assert (point[:-1] / total <= largest[:-1] + 1e-9).all()
    assert over_words(np.zeros(3), np.array([0.0, 0.0, 1.0]))[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [  # newcombe, Statistics in Medicine 17 (1998), table I
        (81, 263, (0.2527, 0.3676)),
        (15, 148, (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1684)),
        (1, 29, (0.0009, 0.1776)),
        (20, 20, (1 - 0.1684, 1.0)),
        (0, 0, (0.0, 1.0)),
    ],
)
def test_the_exact_interval_has_its_published_values(count, size, expected):
    assert clopper_pearson(count, size) == pytest.approx(expected, abs=1e-4)
    low, high = clopper_pearson(size - count, size)
    assert (1 - high, 1 - low) == pytest.approx(expected, abs=1e-4)


def test_nothing_drawn_says_nothing():
    assert clopper_pearson(0, 0) == (0, 1)


@pytest.mark.parametrize("together", [1, 3, 5000])
def test_intervals_are_right_together_as_the_beta_distribution_says(together):
    missed = 0.05 / together / 2
    for size in (1, 7, 100, 2000):
        for count in {1, size // 2 + 1, size} - {0}:
            low, high = clopper_pearson(count, size, together)
            assert low == pytest.approx(betaincinv(count, size - count + 1, missed), abs=1e-9)
            assert 1 - clopper_pearson(size - count, size, together)[1] == pytest.approx(low)
            assert low < count / size <= high


def test_exact_intervals_cover_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.binomial(60, 0.3, size=4000)
    held = [low <= 0.3 <= high for low, high in (clopper_pearson(int(k), 60) for k in draws)]
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize("size", [32, 100])
@pytest.mark.parametrize(
    "target",
    [
        [0.5, 0.5, 0.0],
        [0.1] * 10 + [0.0],
        [0.97, 0.01, 0.01, 0.01],
        [0.5, 0.48] + [0.002] * 10,  # rare words, where approximate intervals are wrong too often
    ],
)
def test_a_model_on_target_is_rarely_said_to_be_off(target, size):
    target = np.array(target)
    bounds = np.array([clopper_pearson(k, size, len(target)) for k in range(size + 1)])
    drawn = np.random.default_rng(0).multinomial(size, target, size=1000)
    off = [tvd_bounds(*bounds[counts].T, target)[0] > 1e-12 for counts in drawn]
    assert np.mean(off) < 0.06
