"""Several numbers on one scale."""

import numpy as np
import pytest

from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, measure
from distmatch.evals.suites.probes import ScaleProbe, ScalesProbe
from tests.evals.suites.probes.made import asking

PARTS = {"rent": ("dear", "cheap"), "size": ("large", "small")}
ASKED = tuple(f"Way {n}: how much do you want {{a}} rather than {{b}}?" for n in range(5))
PROBE = ScalesProbe(name="weights", asked=ASKED, parts=PARTS, low=0, high=4)


def saying(numbers):
    """A subject that puts all on a number, by what the question names first."""

    def probs(example):
        text = asking(example)
        first = min(numbers, key=lambda end: text.find(end) if end in text else len(text))
        said = numbers[first] if isinstance(numbers[first], str) else str(numbers[first])
        return [0.8 * (word == said) for word in example.target.words]

    return FunctionSubject(probs_of=probs)


def test_every_part_has_a_report_of_both_ways_round():
    report = measure(saying({"dear": 1, "cheap": 4, "large": 4, "small": 2}), PROBE)
    # (x + low + high - x') / 2
    assert report.metrics["rent"].mean == pytest.approx((1 + 4 - 4) / 2)
    assert report.metrics["size"].mean == pytest.approx((4 + 4 - 2) / 2)
    assert report.metrics["anchoring"].mean == pytest.approx(((1 + 4 - 4) + (4 + 2 - 4)) / 4)
    assert report.metrics["spread"].mean == pytest.approx(0)
    assert report.metrics["valid"].mean == pytest.approx(0.8)


def test_one_number_for_everything_is_no_report():
    report = measure(saying(dict.fromkeys(["dear", "cheap", "large", "small"], 3)), PROBE)
    assert report.metrics["rent"].mean == report.metrics["size"].mean == pytest.approx(2)
    assert report.metrics["anchoring"].mean == pytest.approx(1)


def test_its_parts_are_what_scales_alone_report():
    rng = np.random.default_rng(0)
    kept: dict[str, list[float]] = {}

    def probs(example):
        if (text := asking(example)) not in kept:
            kept[text] = list(rng.dirichlet(np.ones(6))[:5])
        return kept[text]

    together = measure(FunctionSubject(probs_of=probs), PROBE)
    for part, ends in PARTS.items():
        alone = measure(
            FunctionSubject(probs_of=probs), ScaleProbe(asked=ASKED, ends=ends, low=0, high=4)
        )
        assert together.metrics[part].mean == pytest.approx(alone.metrics["report"].mean)


def test_somebody_else_is_asked_as_well():
    probe = ScalesProbe(asked=ASKED, referent=[f"Anna: {t}" for t in ASKED], parts=PARTS)
    assert [metric.name for metric in probe.metrics][:2] == ["rent", "size"]
    report = measure(saying(dict.fromkeys(["dear", "cheap", "large", "small"], 0)), probe)
    assert list(report.groups()) == ["own", "referent"]
    assert len(report.items) == 10
    assert all(len(said["asked"]) == 4 for said in report.items.said)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parts": {"rent": ("dear", "cheap")}}, "1 parts, expected two or more"),
        ({"parts": {**PARTS, "spread": ("wide", "narrow")}}, "none can be called spread"),
        ({"low": 4}, "expected low below high"),
        ({"asked": ("How much?",) * 5}, "can't be turned around"),
    ],
)
def test_what_cannot_be_asked_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        ScalesProbe(**({"asked": ASKED, "parts": PARTS, "low": 0, "high": 4} | changed))
