"""Tables of many models."""

import math

import numpy as np
import pytest

from distmatch.evals import Report
from distmatch.evals.items import Items
from distmatch.evals.model_lists import Measured, model_table, rank_correlation, trend_table


def report(values, first=0):
    metadata = tuple({"row": first + row} for row in range(len(values)))
    tops = np.array(values, dtype=float)
    items = Items(metadata=metadata, ratios={"kl": (tops, np.ones_like(tops))})
    return Report.of(items, num_resamples=50)


def model(name, size, kind, values, first=0):
    return Measured(name, size, kind, {"ordinary": report(values, first)})


def test_rank_correlations_are_the_textbook_ones():
    iq = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    hours = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert rank_correlation(iq, hours) == pytest.approx(-29 / 165)  # Spearman's, without ties
    assert rank_correlation([1, 2, 2, 4], [10, 20, 20, 90]) == pytest.approx(1)
    assert rank_correlation([1, 2, 2], [3, 1, 2]) == pytest.approx(-math.sqrt(3) / 2)
    assert math.isnan(rank_correlation([1, 2, 3], [5, 5, 5]))


def test_base_and_instruct_differ_on_what_both_were_asked():
    base = model("m", 7, "base", [0.5, 0.7, 0.9])
    instruct = model("m", 7, "instruct", [0.1, 0.2], first=1)
    lines = model_table([base, instruct]).splitlines()
    assert lines[0].split("  ")[-1].strip() == "ordinary kl"
    assert "0.700" in lines[2] and "0.150" in lines[3]
    assert "base - instruct" in lines[4] and "0.650" in lines[4]  # (0.7 - 0.1 + 0.9 - 0.2) / 2


def test_a_model_alone_has_no_difference():
    assert "base - instruct" not in model_table([model("m", 7, "instruct", [0.1])])


def test_a_trend_needs_three_sizes():
    models = [model(f"m{n}", n, "base", [1 / n]) for n in (1, 2, 3)]
    base, instruct = trend_table(models).splitlines()[2:]
    assert base.split() == ["base", "3", "-1.00"] and instruct.split() == ["instruct", "0", "-"]
    assert trend_table(models[:2]).splitlines()[2].split()[-1] == "-"
