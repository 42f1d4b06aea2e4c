"""What reports say of an adapter on its card, against numbers made by hand."""

import numpy as np
import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.evals import Report
from distmatch.evals.items import Answers, Items
from distmatch.evals.metric import Metric
from distmatch.runs import card_measures
from distmatch.runs.card import overlap_told
from distmatch.trainer.card import NOT_MEASURED


def answers(share: float, count: int = 4) -> Report:
    """Each example asks for one of two words, and is given a share of it."""
    asked = np.array([[1.0, 0.0], [0.0, 1.0]] * (count // 2))
    given, other = np.abs(asked - (1 - share)), np.full(count, 0.5)
    metrics = {"control_tvd": 1 - share, "policy_tvd": 0.5, "forward_kl": 2.0, "other": np.inf}
    items = Answers(
        metadata=({},) * count,
        ratios={name: (np.full(count, value), np.ones(count)) for name, value in metrics.items()},
        words=(("red", "blue"),) * count,
        asked=asked,
        given=given,
        target=np.column_stack([asked, 0 * other]),
        probs=np.column_stack([given * 0.5, other]),
        other=other,
    )
    return Report.of(items, num_resamples=20)


def knowledge(share: float) -> Report:
    ratios = {"correct": (np.array([share, share]), np.ones(2))}
    items = Items(metadata=({}, {}), ratios=ratios)
    return Report.of(items, (Metric("correct", "a|b", "higher"),), num_resamples=20)


def test_what_is_tested_is_held_against_what_was_trained_on():
    def asks(prompt, *words):
        return Example(prompt=prompt, target=WordDistribution(words, (0.5, 0.5)))

    trained = [asks("a", "red", "blue"), asks("b", "green", "red")]
    told = (("a", "x", "y"), ("c", "p", "y"), ("b", "green", "z"), ("d", "p", "q"))
    tested = [asks(*one) for one in told]
    text = (
        "Measured on {} examples; {} of them have a prompt that was trained on, {} a word that was."
    )
    assert overlap_told(trained, tested) == text.format(4, 2, 1)
    assert overlap_told(trained, tested[2:]) == text.format(2, 1, 1)
    assert overlap_told(trained, tested[3:]) == text.format(1, 0, 0)
    assert overlap_told(trained, []) == overlap_told([], tested) == ""


def test_metrics_stand_before_beside_after_with_the_policy_to_beat():
    told = card_measures({"examples": answers(0.75)}, {"examples": answers(0.5)})
    lines = told.metrics.splitlines()
    assert lines[0] == "`examples`, 4 items:"
    assert "| metric | before | after |  |" in lines
    row = "| control_tvd | 0.500 [0.500, 0.500] | 0.250 [0.250, 0.250] | lower is better"
    assert any(line.startswith(row) for line in lines)
    assert any(line.startswith("| policy_tvd | 0.500 ") for line in lines)
    assert "`policy_tvd` is what `control_tvd` has to beat" in lines[-1]
    assert told.elsewhere == NOT_MEASURED


def test_calibration_is_a_row_for_each_tenth_that_was_asked_for():
    told = card_measures({"examples": answers(0.75)})
    assert "| 0.00 | 0.25 [0.25, 0.25] |" in told.calibration
    assert "| 1.00 | 0.75 [0.75, 0.75] |" in told.calibration
    assert card_measures({"examples": answers(0.75, 2)}).calibration == NOT_MEASURED  # too few


def test_what_it_costs_elsewhere_stands_apart():
    told = card_measures({"knowledge": knowledge(0.25)}, {"knowledge": knowledge(0.5)})
    assert (told.metrics, told.calibration) == (NOT_MEASURED, NOT_MEASURED)
    row = r"| correct | 0.500 [0.500, 0.500] | 0.250 [0.250, 0.250] | higher is better; a\|b |"
    assert row in told.elsewhere.splitlines()
    assert "policy_tvd" not in told.elsewhere


def test_results_are_the_finite_metrics_that_are_no_details():
    found = card_measures({"examples": answers(0.75), "knowledge": knowledge(0.5)}).results
    assert {(one.dataset_type, one.metric_type): one.metric_value for one in found} == {
        ("examples", "control_tvd"): pytest.approx(0.25),
        ("examples", "policy_tvd"): pytest.approx(0.5),
        ("knowledge", "correct"): pytest.approx(0.5),
    }
    assert found[0].metric_args == {"low": 0.25, "high": 0.25, "confidence": 0.95}


def test_nothing_measured_is_said():
    assert card_measures({}) == card_measures({}, {})
    assert card_measures({}).metrics == NOT_MEASURED
