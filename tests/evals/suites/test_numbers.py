"""What the suite of numbers asks, and its distance."""

import pytest
import torch

from distmatch.data import tasks
from distmatch.data.tasks.numbers import KINDS
from distmatch.evals import measure
from distmatch.evals.suites import Numbers
from distmatch.losses.divergences import wasserstein1
from distmatch.measuring.metrics import METRICS


def test_numbers_asks_for_every_kind_and_nothing_twice():
    examples = Numbers().examples()
    assert len(examples) >= 200 and {e.metadata["group"] for e in examples} == set(KINDS)
    assert len({example.prompt[-1]["content"] for example in examples}) == len(examples)
    trained = {e.metadata["setting"] for e in tasks.Numbers().draw(5000, 0)[0]}
    assert not trained & {example.metadata["setting"] for example in examples}


def test_numbers_has_the_distance_where_outcomes_have_an_order(subject):
    report = measure(subject, Numbers(per_kind=4), num_resamples=20)
    assert tuple(report.metrics) == (*METRICS, "wasserstein1")
    rows = report.rows()
    assert {row["metadata"]["is_ordinal"] for row in rows} == {True, False}
    for row in rows:
        given = torch.tensor([*row["given_over_words"], 0.0], dtype=torch.float64)
        asked = torch.tensor([*row["asked_over_words"], 0.0], dtype=torch.float64)
        expected = wasserstein1(given.log(), asked).item()
        if row["metadata"]["is_ordinal"]:
            assert row["wasserstein1"] == pytest.approx(expected, abs=1e-5)
        else:
            assert row["wasserstein1"] is None
