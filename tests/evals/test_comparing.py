"""Paired differences against a bootstrap done by hand."""

import math
import random

import numpy as np
import pytest

from distmatch.errors import DataError
from distmatch.evals import Report, compare, difference_table
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


def test_a_model_does_not_differ_from_itself():
    same = report([0.1, 0.5, 0.9], weights=[1, 2, 0])
    assert compare(same, same)["hits"] == (0, 0, 0)


def test_reports_of_other_items_are_refused():
    with pytest.raises(DataError, match="of 2 and 3 items"):
        compare(report([1, 2]), report([1, 2, 3]))
    with pytest.raises(DataError, match=r"item 1 is \{'row': 1\} in one report and \{'row': 5\}"):
        compare(report([1, 2]), report([1, 2], metadata=({"row": 0}, {"row": 5})))


def test_the_table_holds_every_report_and_its_difference_from_the_first():
    table = difference_table({"base": report([1, 2]), "a": report([2, 3]), "b": report([1, 2])})
    lines = table.splitlines()
    assert [part.strip() for part in lines[0].split("  ") if part] == [
        "metric", "base", "a", "b", "a - base", "b - base",
    ]  # fmt: skip
    assert "1.000 [1.000, 1.000]" in lines[2] and lines[2].endswith("0.000 [0.000, 0.000]")
    with pytest.raises(DataError, match="needs two reports"):
        difference_table({"base": report([1])})
