"""Choices between two, and what attributes weigh in them."""

from dataclasses import replace

import numpy as np
import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, Report, measure
from distmatch.evals.suites.probes import PairChoices

ATTRIBUTES = ("rent", "size", "walk")
WEIGHTS = np.array([1.0, -0.4, 0.15])
SHARPNESS, LETTER = 3.0, 1.7


def sigmoid(odds):
    return float(1 / (1 + np.exp(-odds)))


def row(differences, prob=0.5):
    return Example(
        prompt=f"Which one? {differences}",
        target=WordDistribution(("A", "B"), (prob, 1 - prob)),
        metadata={"differences": list(differences)},
    )


def pairs(number, seed=0):
    drawn = np.random.default_rng(seed).uniform(-1, 1, (number, len(ATTRIBUTES)))
    both = [(one, -one) for one in drawn]
    return tuple(row([float(v) for v in way]) for pair in both for way in pair)


def weighing(weights=WEIGHTS, letter=LETTER, mass=0.9):
    """A subject that chooses by weights, and likes the first letter besides."""

    def probs(example):
        odds = SHARPNESS * weights @ np.array(example.metadata["differences"]) + letter
        return [mass * sigmoid(odds), mass * sigmoid(-odds)]

    return FunctionSubject(probs_of=probs)


def chosen(subject, number):
    return measure(subject, PairChoices(attributes=ATTRIBUTES, rows=pairs(number)))


def test_weights_are_recovered_whatever_the_letter():
    report = chosen(weighing(), 30)
    found = np.array([report.metrics[one].mean for one in ATTRIBUTES])
    np.testing.assert_allclose(found / SHARPNESS, WEIGHTS, atol=1e-6)
    assert report.metrics["fit"].mean == pytest.approx(1)
    assert report.metrics["first"].mean > 0.7
    assert report.metrics["valid"].mean == pytest.approx(0.9)


def test_weights_are_least_squares_of_what_a_saved_report_keeps(tmp_path):
    rng = np.random.default_rng(1)
    noise = {}

    def probs(example):
        key = str(example.metadata["differences"])
        odds = WEIGHTS @ np.array(example.metadata["differences"])
        return [share := sigmoid(odds + noise.setdefault(key, rng.normal())), 1 - share]

    report = measure(
        FunctionSubject(probs_of=probs), PairChoices(attributes=ATTRIBUTES, rows=pairs(40))
    )
    report.save(tmp_path / "report.json")
    loaded = Report.load(tmp_path / "report.json")
    odds = [said["log_odds"] for said in loaded.items.said]
    differences = np.array([said["differences"] for said in loaded.items.said])
    expected = np.linalg.lstsq(differences, odds, rcond=None)[0]
    found = [loaded.metrics[one].mean for one in ATTRIBUTES]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    residuals = odds - differences @ expected
    assert loaded.metrics["fit"].mean == pytest.approx(
        1 - residuals @ residuals / np.dot(odds, odds)
    )


def test_intervals_are_those_of_weights_fitted_anew():
    rng = np.random.default_rng(2)
    noise = {}

    def probs(example):
        differences = np.array(example.metadata["differences"])
        key, sign = str(abs(differences)), np.sign(differences[0])
        odds = WEIGHTS @ differences + sign * noise.setdefault(key, rng.normal(scale=0.5))
        return [sigmoid(odds), sigmoid(-odds)]

    report = measure(
        FunctionSubject(probs_of=probs), PairChoices(attributes=ATTRIBUTES, rows=pairs(200))
    )
    odds = np.array([said["log_odds"] for said in report.items.said])
    differences = np.array([said["differences"] for said in report.items.said])
    draws = [rng.integers(0, 200, 200) for _ in range(1000)]
    anew = [np.linalg.lstsq(differences[d], odds[d], rcond=None)[0] for d in draws]
    for name, low, high in zip(ATTRIBUTES, *np.quantile(anew, [0.025, 0.975], axis=0), strict=True):
        interval = report.metrics[name]
        assert interval.high - interval.low == pytest.approx(high - low, rel=0.25)


def test_one_that_likes_a_letter_alone_weighs_nothing():
    report = chosen(weighing(0 * WEIGHTS), 30)
    for name in ATTRIBUTES:
        assert report.metrics[name].mean == pytest.approx(0, abs=1e-6)
    assert report.metrics["distance"].mean == pytest.approx(0, abs=1e-6)


def test_one_that_answers_neither_has_no_weights_but_a_report():
    report = chosen(weighing(mass=0), 30)
    assert report.metrics["valid"].mean == 0
    assert report.metrics["rent"].mean == pytest.approx(0)


def _other_words(rows):
    target = WordDistribution(("first", "second"), (0.5, 0.5))
    return (*rows[:-1], replace(rows[-1], target=target))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pairs(5), "5 pairs for 3 weights"),
        (pairs(8)[:-1], "must exchange the two"),
        (pairs(8)[1:] + pairs(8)[:1], "must exchange the two"),
        (_other_words(pairs(8)), "same two words"),
        ((*pairs(8), row([0.1]), row([-0.1])), 'expected "differences"'),
    ],
)
def test_rows_without_weights_are_refused(rows, message):
    with pytest.raises(ConfigError, match=message):
        PairChoices(attributes=ATTRIBUTES, rows=rows).check()


def test_a_record_tells_the_rows():
    one, other = (PairChoices(attributes=ATTRIBUTES, rows=pairs(8, seed)) for seed in (0, 1))
    assert one.record() != other.record()
    assert one.record()["attributes"] == list(ATTRIBUTES)
