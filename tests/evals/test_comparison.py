"""Paired differences against a bootstrap done by hand."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from distmatch.errors import DataError
from distmatch.evals import Report, compare, difference_table
from distmatch.evals.comparison import group_difference_table, on_shared_items, ways_apart
from distmatch.evals.items import Items


def report(values, weights=None, metadata=None, num_resamples=2000):
    tops = np.array(values, dtype=float)
    bottoms = np.ones_like(tops) if weights is None else np.array(weights, dtype=float)
    metadata = metadata or tuple({"row": row} for row in range(len(values)))
    items = Items(metadata=metadata, ratios={"hits": (tops, bottoms)})
    return Report.of(items, num_resamples=num_resamples)


def test_the_interval_is_that_of_resampling_pairs_one_by_one():
    rng = random.Random(1)
    hard = [rng.random() for _ in range(40)]
    before = [h + 0.1 * rng.random() for h in hard]
    after = [h - 0.2 + 0.1 * rng.random() for h in hard]
    draws = []
    for _ in range(4000):
        rows = rng.choices(range(40), k=40)
        draws.append(sum(after[i] - before[i] for i in rows) / 40)
    draws.sort()
    got = compare(report(before, num_resamples=4000), report(after))["hits"]
    assert got.mean == pytest.approx(math.fsum(after) / 40 - math.fsum(before) / 40)
    assert got.low == pytest.approx(draws[100], abs=0.003)
    assert got.high == pytest.approx(draws[3900], abs=0.003)
    alone = report(before).metrics["hits"]
    assert got.high - got.low < 0.3 * (alone.high - alone.low)  # what is hard for both cancels


def test_of_groups_each_is_compared_with_itself():
    groups = tuple({"group": name, "row": row} for row in range(3) for name in ("a", "b"))
    before = report([1, 5, 2, 5, 3, 5], metadata=groups)
    after = report([2, 1, 4, 1, 6, 1], metadata=groups)
    title, header, _, *rows = group_difference_table({"x": before, "y": after}).splitlines()
    assert title == "hits by group, each by itself"
    assert header.split() == ["group", "items", "x", "y", "y", "-", "x"]
    assert [row.split()[:2] for row in rows] == [["a", "3"], ["b", "3"]]
    assert "2.000 [1.000, 3.000]  4.000 [2.000, 6.000]  2.000 [1.000, 3.000]" in rows[0]
    assert "5.000 [5.000, 5.000]  1.000 [1.000, 1.000]  -4.000 [-4.000, -4.000]" in rows[1]
    assert group_difference_table({"x": report([1, 2]), "y": report([2, 3])}) == ""
    with pytest.raises(DataError, match="of 6 and 2 items"):
        group_difference_table({"x": before, "y": report([1, 2], metadata=groups[::3])})


def test_a_model_does_not_differ_from_itself():
    same = report([0.1, 0.5, 0.9], weights=[1, 2, 0])
    assert compare(same, same)["hits"] == (0, 0, 0)


def test_reports_of_other_items_are_refused():
    with pytest.raises(DataError, match="of 2 and 3 items"):
        compare(report([1, 2]), report([1, 2, 3]))
    with pytest.raises(DataError, match=r"item 1 differs .*metadata \{'row': 1\} and \{'row': 5\}"):
        compare(report([1, 2]), report([1, 2], metadata=({"row": 0}, {"row": 5})))


def test_items_of_a_cluster_are_resampled_together():
    values = np.repeat(np.random.default_rng(0).random(30), 4)
    clusters = tuple(str(row // 4) for row in range(120))
    ratios = {"hits": (values, np.ones(120))}
    items = Items(metadata=({},) * 120, ratios=ratios, clusters=clusters)
    clustered, alone = Report.of(items), report(values[::4], num_resamples=1000)
    assert clustered.metrics["hits"] == pytest.approx(alone.metrics["hits"], abs=0.01)
    assert compare(clustered, clustered)["hits"] == (0, 0, 0)
    half = items.subset(range(60))
    assert len(half.clusters) == 60 and len(half.resampled["hits"][0]) == 15


def test_differences_from_infinity_keep_their_sign():
    table = difference_table({"base": report([math.inf, 1]), "adapted": report([1, 1])})
    assert table.splitlines()[2].endswith("-inf")


def test_the_table_holds_every_report_and_its_difference_from_the_first():
    table = difference_table({"base": report([1, 2]), "a": report([2, 3]), "b": report([1, 2])})
    lines = table.splitlines()
    assert [part.strip() for part in lines[0].split("  ") if part] == [
        "metric", "base", "a", "b", "a - base", "b - base",
    ]  # fmt: skip
    assert "1.000 [1.000, 1.000]" in lines[2] and lines[2].endswith("0.000 [0.000, 0.000]")
    with pytest.raises(DataError, match="needs two reports"):
        difference_table({"base": report([1])})


def test_only_what_all_were_asked_is_compared():
    first = report([1, 2, 3], metadata=({"row": 0}, {"row": 1}, {"row": 2}))
    second = report([5, 7], metadata=({"row": 2}, {"row": 0}))
    shared = on_shared_items({"first": first, "second": second})
    assert [part.metrics["hits"].mean for part in shared.values()] == [2, 6]
    assert compare(*shared.values())["hits"].mean == 4
    assert on_shared_items({"a": first, "b": first})["a"] is first
    with pytest.raises(DataError, match="no item is in all"):
        on_shared_items({"first": first, "other": report([1], metadata=({"row": 9},))})


def test_ways_of_asking_are_compared_question_by_question():
    metadata = tuple({"group": way, "row": row} for way in ("once", "long") for row in range(3))
    ratios = {"hits": (np.array([1.0, 2, 3, 2, 3, 4]), np.ones(6))}
    items = Items(metadata=metadata, ratios=ratios, clusters=("a", "b", "c") * 2)
    ways = ways_apart(Report.of(items, num_resamples=50))
    assert compare(ways["once"], ways["long"])["hits"] == pytest.approx((1, 1, 1))
    others = (
        replace(items, clusters=("a", "b", "c", "a", "b", "d")),
        replace(items, metadata=(*metadata[:5], {"group": "long", "row": 7})),  # of another bound
        items.subset(range(3)),
    )
    for other in others:
        with pytest.raises(DataError, match="don't ask the same"):
            ways_apart(Report.of(other, num_resamples=5))
