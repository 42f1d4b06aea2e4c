"""Scales: a report survives being turned around, a number that always comes doesn't."""

import pytest

from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, LocalModel
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import ScaleProbe
from tests.evals.suites.probes.made import asking, saying
from tests.tiny import tiny_model, tiny_tokenizer

ASKED = tuple(f"Way {n}: of 100 times, how often {{a}}?" for n in range(5))
ENDS = ("heads", "tails")


def probe(**given):
    return ScaleProbe(**({"name": "share", "asked": ASKED, "ends": ENDS} | given))


def truthful(share):
    """One that says heads in a share of 100 cases, and knows it."""

    def probs_of(example):
        wanted = share if "heads" in asking(example) else 100 - share
        return [float(int(word) == wanted) for word in example.target.words]

    return FunctionSubject(probs_of=probs_of)


def test_a_truth_teller_reports_its_share_without_anchoring():
    metrics = measure(truthful(30), probe()).metrics
    assert metrics["report"].mean == pytest.approx(30)
    assert metrics["anchoring"].mean == pytest.approx(0)
    assert metrics["spread"].mean == pytest.approx(0)
    assert (metrics["straight"].mean, metrics["turned"].mean) == (30, 70)


def test_always_70_is_anchoring_and_a_report_of_half():
    metrics = measure(saying(70), probe()).metrics
    assert metrics["report"].mean == pytest.approx(50)
    assert metrics["anchoring"].mean == pytest.approx(20)


def test_the_spread_is_the_standard_deviation():
    assert measure(saying(50, 20), probe()).metrics["spread"].mean == pytest.approx(20)


def test_a_signed_scale_is_turned_around_zero():
    asked = tuple(text.replace("of 100 times", "0 is {b}") for text in ASKED)
    metrics = measure(saying(-4), probe(asked=asked, low=-10, high=10)).metrics
    assert metrics["report"].mean == pytest.approx(0)
    assert metrics["anchoring"].mean == pytest.approx(-4)


def test_all_numbers_are_asked_exactly_whatever_the_tokenizer_joins():
    """Of a random model every number has mass; they and what is none of them sum to 1."""
    model, tokenizer = tiny_model("llama", num_hidden_layers=2), tiny_tokenizer()
    tokenizer.add_tokens(["70", "100"])
    model.resize_token_embeddings(len(tokenizer))
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False, batch_size=2)
    report = measure(subject, probe(begun="I would say"))
    masses = report.rows()[0]["said"]["asked"][0]["mass"]
    assert len(masses) == 101
    assert min(masses) >= 0
    assert 0 < sum(masses) < 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"low": 5, "high": 5}, "expected low below high"),
        ({"asked": (*ASKED[:4], "How often?")}, "has no {a}"),
    ],
)
def test_what_can_not_be_asked_is_refused(given, told):
    with pytest.raises(ConfigError) as refused:
        probe(**given)
    assert told in str(refused.value)
