"""What a target may be, and what is said about one that may not."""

import math

import jaxtyping
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmatch.data.distribution import WordDistribution
from distmatch.errors import DataError


@pytest.fixture
def as_users_run_it():
    """Without the tests' type checks, which would refuse a wrong type before we do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("words", "probs", "other", "message"),
    [
        ((), (), 0.0, "no words"),
        (("cat", ""), (0.5, 0.5), 0.0, "empty word ''"),
        (("cat", " \n"), (0.5, 0.5), 0.0, r"empty word ' \\n' in \['cat', ' \\n'\]: remove it"),
        (("cat", "dog", "cat"), (0.5, 0.25, 0.25), 0.0, r"duplicate words \['cat'\].*merge them"),
        (("cat", "dog"), (1.0,), 0.0, "2 words but 1 probs"),
        (("cat", "dog"), (1.5, -0.5), 0.0, r'"cat" is 1.5, more than 1: divide percentages by 100'),
        (("cat", "dog"), (-0.5, 0.5), 0.0, '"cat" is negative: -0.5, expected 0 to 1'),
        (("cat", "dog"), (math.nan, 0.5), 0.0, '"cat" is NaN'),
        (("cat", "dog"), (0.5, math.inf), 0.0, '"dog" is inf, more than 1'),
        (
            *(("cat", "dog"), (0.7, 0.5), 0.0),
            r"sum to 1.2, more than 1: \{'cat': 0.7, 'dog': 0.5\}. Use WordDistribution.normalised",
        ),
        (("cat", "dog"), (0.5, 0.2), 0.0, "sum to 0.7, less than 1.*or give the missing mass as"),
        (("cat", "dog"), (0.5, 0.5), 0.2, "sum to 1, more than 0.8 with other = 0.2"),
        (("cat", "dog"), (0.5, 0.2), "free", "sum to 0.7, less than 1"),
        (("cat", "dog"), (0.7, 0.5), "preserve", "sum to 1.2, more than 1"),
        (("cat", "dog"), (0.5, 0.5), "preserve", "leaves nothing to preserve"),
        (("cat", "dog"), (0.5, 0.5), -0.1, "other is -0.1, expected a number from 0 to 1"),
        (("cat", "dog"), (0.5, 0.5), math.nan, "other is nan"),
    ],
)
def test_a_bad_target_is_refused(words, probs, other, message):
    with pytest.raises(DataError, match=message):
        WordDistribution(words, probs, other)


@pytest.mark.parametrize(
    ("words", "probs", "other", "message"),
    [
        (("cat", 3), (0.5, 0.5), 0.0, "words must be strings, got 3"),
        (("cat", "dog"), (0.5, "0.5"), 0.0, "\"dog\" is '0.5', expected a number"),
        (("cat", "dog"), (True, False), 0.0, '"cat" is True, expected a number'),
        (("cat", "dog"), (0.5, 0.5), "keep", 'other is "keep", expected a number or one of'),
        (("cat", "dog"), (0.5, 0.5), None, "other is None"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_a_value_of_the_wrong_type_is_refused(words, probs, other, message):
    with pytest.raises(DataError, match=message):
        WordDistribution(words, probs, other)


@pytest.mark.parametrize(
    ("probs", "other", "other_prob"),
    [
        ((0.5, 0.5), 0.0, 0.0),
        ((0.5, 0.25), 0.25, 0.25),
        ((0.0, 0.0), 1.0, 1.0),
        ((0.5, 0.5), "free", 0.0),
        ((0.5, 0.25), "preserve", 0.25),
        ((0.9, 0.8), "at_most", math.nan),
    ],
)
def test_the_target_of_other(probs, other, other_prob):
    target = WordDistribution(("cat", "dog"), probs, other)
    assert target.other_prob == pytest.approx(other_prob, nan_ok=True)


@given(
    st.dictionaries(st.text("abc", min_size=1), st.floats(0, 1e6), min_size=1).filter(
        lambda weights: sum(weights.values()) > 1e-300
    ),
    st.floats(0, 1),
)
def test_normalised_weights_keep_their_proportions(weights, other):
    target = WordDistribution.normalised(weights, other)
    assert math.fsum(target.probs) + target.other_prob == pytest.approx(1)
    for prob, weight in zip(target.probs, weights.values(), strict=True):
        assert prob * sum(weights.values()) == pytest.approx((1 - other) * weight)


@pytest.mark.parametrize(
    ("weights", "other", "message"),
    [
        ({"cat": 0.0, "dog": 0.0}, 0.0, "sum to 0.0, so they can't be normalised"),
        ({"cat": math.nan}, 0.0, "can't be normalised"),
        ({"cat": 2.0, "dog": -1.0}, 0.0, '"cat" is 2.0, more than 1'),
        ({"cat": 1.0}, "preserve", 'a number or "free", not "preserve"'),
    ],
)
def test_weights_that_cannot_be_normalised_are_refused(weights, other, message):
    with pytest.raises(DataError, match=message):
        WordDistribution.normalised(weights, other)


def test_normalised_free_weights_sum_to_one():
    assert WordDistribution.normalised({"cat": 3, "dog": 1}, "free").probs == (0.75, 0.25)
