import math

import pytest

from distmatch.errors import DataError
from distmatch.plots import learning_curve


def test_a_curve_is_the_logged_numbers():
    history = [
        {"step": 10, "loss": 2.0, "epoch": 0.1},
        {"step": 0, "eval_tvd": 0.9, "eval_slope": math.nan, "eval_other": None},
        {"step": 20, "eval_tvd": 0.1, "eval_slope": 0.95, "eval_other": 0.02},
        {"train_runtime": 3.0},
    ]
    axes = {axis.get_title("left"): axis for axis in learning_curve(history).axes}
    assert axes["loss"].lines[0].get_xydata().tolist() == [[10, 2.0]]
    assert axes["TVD"].lines[0].get_xydata().tolist() == [[0, 0.9], [20, 0.1]]
    assert axes["slope, given on asked"].lines[-1].get_xydata().tolist() == [[20, 0.95]]
    assert axes["other"].lines[0].get_xydata().tolist() == [[20, 0.02]]


def test_a_history_without_numbers_is_refused():
    with pytest.raises(DataError, match="none of"):
        learning_curve([{"step": 1, "grad_norm": 1.0}])


def test_a_single_line_is_seen():
    (axis,) = learning_curve([{"step": 3, "loss": 2.0}]).axes
    assert axis.lines[0].get_marker() == "o"
    low, high = axis.get_xlim()
    assert [tick for tick in axis.get_xticks() if low <= tick <= high] == [3]
