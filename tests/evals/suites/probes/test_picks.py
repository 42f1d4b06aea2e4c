"""Which of two texts is picked, whatever the letter or the place."""

import pytest

from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, measure
from distmatch.evals.suites.probes import PicksProbe
from tests.evals.suites.probes.made import asking, choosing, preferring

PAIRS = (("The inn has a bell.", "The inn has a wheel."), ("Oats grow here.", "Peas grow here."))
PROBE = PicksProbe(
    asked=tuple(f"Way {n}: which do you know?" for n in range(5)),
    referent=tuple(f"Way {n}: which does Anna know?" for n in range(5)),
    pairs=PAIRS,
)


def test_each_pair_keeps_how_probable_the_first_is():
    shares = {"The inn has a bell.": 0.9, "The inn has a wheel.": 0.1, "Oats grow here.": 0.2}

    def probs_of(example):
        if "Anna" in asking(example):
            return choosing(example, lambda shown: 0.5)
        return choosing(example, lambda shown: shares.get(shown, 0.8))

    report = measure(FunctionSubject(probs_of=probs_of), PROBE, num_resamples=10)
    firsts = [kept["said"]["first"] for kept in report.items.said]
    assert firsts == pytest.approx([0.9, 0.2, 0.5, 0.5])
    assert [about["group"] for about in report.items.metadata] == ["own"] * 2 + ["referent"] * 2
    own = report.groups()["own"].metrics
    assert own["first"].mean == pytest.approx(0.55)
    assert own["decided"].mean == pytest.approx(0.7)
    assert own["valid"].mean == pytest.approx(1)


def test_a_liked_letter_picks_nothing():
    report = measure(preferring("B"), PROBE, num_resamples=10)
    assert report.metrics["first"].mean == pytest.approx(0.5)
    assert report.metrics["decided"].mean == pytest.approx(0, abs=1e-9)


def test_nothing_to_pick_from_is_refused():
    with pytest.raises(ConfigError, match="no pairs: give at least one"):
        PicksProbe(asked=PROBE.asked, pairs=())
    with pytest.raises(ConfigError, match="expected at least 5"):
        PicksProbe(asked=PROBE.asked[:2], pairs=PAIRS)
