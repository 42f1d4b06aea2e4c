"""Behaviour as exact probabilities."""

import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, Report, measure
from distmatch.evals.suites.probes import Acts

ROWS = (
    Example(prompt="Heads or tails?", target=WordDistribution(("heads", "tails"), (0.7, 0.3))),
    Example(prompt="A tree?", target=WordDistribution(("oak", "elm", "ash"), (0.5, 0.3, 0.2))),
)
GIVEN = {"heads": 0.45, "tails": 0.45, "oak": 0.1, "elm": 0.2, "ash": 0.1}


def doing(given):
    return FunctionSubject(probs_of=lambda example: [given[w] for w in example.target.words])


def test_shares_are_over_the_words_and_kept(tmp_path):
    report = measure(doing(GIVEN), Acts(rows=ROWS))
    report.save(tmp_path / "report.json")
    found = Report.load(tmp_path / "report.json")
    assert [row["share"] for row in found.rows()] == pytest.approx([0.5, 0.25])
    assert [row["distance"] for row in found.rows()] == pytest.approx([0.2, 0.25])
    assert [row["valid"] for row in found.rows()] == pytest.approx([0.9, 0.4])
    shares = [said["shares"] for said in found.items.said]
    assert list(shares[1]) == ["oak", "elm", "ash"]
    assert shares[1] == pytest.approx({"oak": 0.25, "elm": 0.5, "ash": 0.25})
    assert shares[0] == pytest.approx({"heads": 0.5, "tails": 0.5})


def test_what_is_never_answered_has_no_share():
    report = measure(doing(dict.fromkeys(GIVEN, 0.0) | {"heads": 0.9}), Acts(rows=ROWS))
    assert [row["share"] for row in report.rows()] == [1, None]
    assert report.metrics["share"].mean == 1


def test_of_one_word_there_is_nothing_to_ask():
    alone = Example(prompt="Heads?", target=WordDistribution(("heads",), (1.0,)))
    with pytest.raises(ConfigError, match="two words or more"):
        Acts(rows=(alone,)).check()
