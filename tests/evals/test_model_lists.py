"""Tables of many models."""

import numpy as np

from distmatch.evals import SUITES, Report
from distmatch.evals.items import Items
from distmatch.evals.model_lists import (
    Column,
    MeasuredModel,
    columns,
    model_table,
    trend_table,
)

KL = [Column("ordinary", "kl")]


def report(values, first=0):
    metadata = tuple({"row": first + row} for row in range(len(values)))
    tops = np.array(values, dtype=float)
    items = Items(metadata=metadata, ratios={"kl": (tops, np.ones_like(tops))})
    return Report.of(items, num_resamples=50)


def model(name, size, kind, values, first=0):
    return MeasuredModel(name, size, kind, {"ordinary": report(values, first)})


def test_base_and_instruct_differ_on_what_both_were_asked():
    base = model("m", 7, "base", [0.5, 0.7, 0.9])
    instruct = model("m", 7, "instruct", [0.1, 0.2], first=1)
    lines = model_table([base, instruct], KL).splitlines()
    assert lines[0].split("  ")[-1].strip() == "ordinary kl"
    assert "0.700" in lines[2] and "0.150" in lines[3]
    assert "base - instruct" in lines[4] and "0.650" in lines[4]  # (0.7 - 0.1 + 0.9 - 0.2) / 2


def test_a_model_alone_has_no_difference():
    assert "base - instruct" not in model_table([model("m", 7, "instruct", [0.1])], KL)


def test_a_trend_needs_three_sizes():
    models = [model(f"m{n}", n, "base", [1 / n]) for n in (1, 2, 3)]
    base, instruct = trend_table(models, KL).splitlines()[2:]
    assert base.split() == ["base", "3", "-1.00", "(p", "0.33)"]  # 2 of the 6 orders
    assert instruct.split() == ["instruct", "0", "-"]
    assert trend_table(models[:2], KL).splitlines()[2].split()[-1] == "-"


def test_what_has_no_spread_or_no_value_has_no_trend():
    same = [model(f"m{n}", n, "base", [0.5]) for n in (1, 2, 3)]
    assert trend_table(same, KL).splitlines()[2].split()[-1] == "-"
    nothing = MeasuredModel("m4", 4, "base", {"ordinary": report([float("nan")])})
    rising = [model(f"m{n}", n, "base", [n]) for n in (1, 2, 3)]
    assert "+1.00" in trend_table([*rising, nothing], KL).splitlines()[2]


def test_families_that_were_asked_nothing_alike_have_no_difference():
    base, instruct = model("m", 7, "base", [0.5]), model("m", 7, "instruct", [0.1], first=5)
    line = model_table([base, instruct], KL).splitlines()[-1]
    assert line.split()[-1] == "-" and "base - instruct" in line


def test_models_are_compared_by_the_metrics_of_the_suites_that_any_was_asked():
    suites = [SUITES[name] for name in ("given", "ordinary", "thinking")]
    assert columns([model("m", 7, "base", [0.5])], suites) == KL
    both = MeasuredModel("n", 7, "base", {"given": report([1]), "thinking": report([1])})
    assert columns([both], suites) == [("given", "tvd"), ("given", "control_tvd")]
