"""What is mapped, on numbers worked by hand."""

import math

import pytest

from distmatch.sweeps.headlines import CONTROL, COPYING


def metrics(other, control_tvd, policy_tvd=0.25):
    values = {"other": other, "control_tvd": control_tvd, "policy_tvd": policy_tvd}
    return {name: {"mean": value} for name, value in values.items()}


def test_control_is_zero_for_the_best_policy_without_the_numbers():
    assert CONTROL.value(metrics(0.5, 0.25), metrics(0.9, 0.5)) == 0
    assert CONTROL.value(metrics(0.5, 0.375), metrics(0.9, 0.5)) == -0.125


def test_copying_is_what_less_goes_to_none_of_the_words_than_under_the_base():
    assert COPYING.value(metrics(0.25, 0.25), metrics(0.75, 0.5)) == 0.5


def test_the_base_has_its_own_control_and_no_copying():
    base = metrics(0.9, 0.375)
    assert (COPYING.of_base(base), CONTROL.of_base(base)) == (0, -0.125)


@pytest.mark.parametrize("missing", [("policy_tvd", "control_tvd"), ("control_tvd",)])
def test_where_no_example_tells_there_is_no_control(missing):
    told = metrics(0.5, 0.125) | {name: {"mean": None} for name in missing}
    assert math.isnan(CONTROL.value(told, metrics(0.5, 0.5)))
