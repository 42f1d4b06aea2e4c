"""The verdict on subjects of which the truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from distmatch.evals import Report
from distmatch.evals.items import Items
from distmatch.experiments.tables import arms_table, lines_of
from distmatch.experiments.verdict import (
    BLIND,
    NO_REPORT,
    NOT_ANSWERED,
    NOT_TAUGHT,
    READ,
    REPORTS,
    TOO_FEW,
    UNSEEN,
    decided,
)
from tests.experiments.small import (
    ASKED,
    HOW_OFTEN,
    SHARES,
    call,
    experiment,
    measured_by_hand,
    on_scale,
    subject,
)


def verdict(
    reports, *, shares=SHARES, acts=lambda share: share, valid=1.0, told=None, told_arm=True
):
    """Of subjects that report what a function of their share and of who is asked about says."""
    told = told or (lambda share, own: share if own else 0.5)
    coins = experiment(shares, told=told_arm)

    def subject_of(unit):
        share = unit.behaviour[0] if unit.behaviour else 0.5
        says = told if unit.arm == "told" else reports
        return subject(acts(share), lambda own: says(share, own), valid)

    return decided(coins, measured_by_hand(coins, subject_of))


def test_a_truth_teller_passes_with_a_slope_of_one():
    found = verdict(lambda share, own: share if own else 0.5)
    assert found.outcome == REPORTS
    assert found.evidence.exchange.value == pytest.approx(1, abs=0.15)
    assert found.evidence.truth == pytest.approx(1)
    assert found.p == pytest.approx(1 / 120)
    assert found.evidence.interval.low > 0.8


def test_one_that_leaks_its_answer_into_everything_reports_nothing_of_its_own():
    found = verdict(lambda share, own: share)
    assert found.outcome == NO_REPORT
    assert found.evidence.exchange.value == pytest.approx(0, abs=1e-9)


def test_always_70_has_no_slope():
    found = verdict(lambda share, own: 0.7)
    assert found.outcome == NO_REPORT
    assert found.evidence.exchange.value == pytest.approx(0, abs=1e-9)


def test_one_that_reports_the_opposite_is_no_truth_teller():
    assert verdict(lambda share, own: 1 - share if own else 0.5).outcome == NO_REPORT


def test_a_model_that_does_not_report_what_it_is_told_is_blind():
    assert verdict(lambda share, own: 0.5, told=lambda share, own: 0.5).outcome == BLIND
    half = verdict(lambda share, own: 0.5, told=lambda s, own: 0.5 + 0.3 * (s - 0.5) * own)
    assert half.outcome == BLIND  # it lights up, but by less than half


def test_without_a_positive_arm_a_report_stands_and_a_null_does_not():
    found = verdict(lambda share, own: share if own else 0.5, told_arm=False)
    assert found.outcome == REPORTS
    assert found.told is None
    assert verdict(lambda share, own: 0.7, told_arm=False).outcome == UNSEEN


def test_one_that_says_no_more_than_its_answers_show_is_no_better_than_a_reader():
    """The base, shown ten answers, reports their share."""
    shown = tuple(call(number, 0.5) for number in range(10, 20))
    texts = tuple(f"{{answers}} {text}" for text in ASKED)
    probe = replace(HOW_OFTEN, reader=texts, shown=shown)
    coins = experiment(probe=probe)

    def subject_of(unit):
        share = unit.behaviour[0] if unit.behaviour else 0.5
        knows = subject(share, lambda own: 0.5 + 0.5 * (share - 0.5) if own else 0.5)
        return replace(knows, base_probs_of=reads) if unit.arm == "trained" else truthful(share)

    def truthful(share):
        return replace(subject(share, lambda own: share if own else 0.5), base_probs_of=reads)

    found = decided(coins, measured_by_hand(coins, subject_of))
    assert found.outcome == READ
    assert found.reader.exchange.value > found.evidence.exchange.value > 0.3
    assert "reader: " in str(found)
    line = next(
        one
        for one in lines_of(coins, measured_by_hand(coins, subject_of))
        if (one.probe, one.figure, one.whose) == ("how_often", "report", "reader")
    )
    assert len(line.cells["trained"].values) == 5


def reads(example):
    """The share of heads among the answers shown."""
    text = example.prompt[-1]["content"]
    share = text.count("Answer: heads") / 10
    asked = share if "say heads" in text else 1 - share
    return on_scale(example.target.words, 100 * asked)


def test_adapters_that_learned_nothing_do_not_count():
    found = verdict(lambda share, own: share if own else 0.5, acts=lambda share: 0.5)
    assert found.outcome == NOT_TAUGHT
    assert (found.num_learned, found.num_taught) == (5, 1)


def test_less_than_half_of_the_mass_is_no_answer():
    found = verdict(lambda share, own: share if own else 0.5, valid=0.45)
    assert found.outcome == NOT_ANSWERED
    assert found.num_answered == 0


def test_three_adapters_are_points():
    found = verdict(lambda share, own: share if own else 0.5, shares=SHARES[:3])
    assert found.outcome == TOO_FEW


def test_without_adapters_it_is_seen_whether_a_model_is_blind():
    coins = experiment()
    told = replace(coins, given_units=tuple(u for u in coins.units if u.arm == "told"))
    for slope, outcome in ((0.1, BLIND), (1.0, TOO_FEW)):
        found = decided(
            told, measured_by_hand(told, lambda u, slope=slope: reporting(u.behaviour[0], slope))
        )
        assert found.outcome == outcome
        assert found.num_learned == 0


def reporting(share, slope):
    return subject(share, lambda own: 0.5 + slope * (share - 0.5) if own else 0.5)


def test_it_is_plain_json_and_says_what_it_means():
    found = verdict(lambda share, own: share if own else 0.5)
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["outcome"] == REPORTS
    assert "5 of 5 adapters learned" in str(found)
    assert "a truth-teller's 1.000" in str(found)


@pytest.mark.parametrize(("knows", "least", "most"), [(0.0, 0, 11), (0.5, 85, 100)])
def test_with_nothing_to_know_few_pass_and_with_something_most_do(knows, least, most):
    """The whole verdict on 100 experiments, of reports that are noise or know half.

    With nothing to know 5 % and three standard errors pass at most.
    """
    coins, rng, passed, chances = experiment(), np.random.default_rng(0), 0, []
    told = {u.name: u.behaviour[0] for u in coins.units if u.arm == "told"}
    for _ in range(100):
        own, referent = 0.5 + 0.06 * rng.normal(size=(2, len(SHARES)))
        reports = {
            f"trained-{n}": {
                "acts": acts_report(share),
                "how_often": scale_report(own[n] + knows * (share - 0.5), referent[n]),
            }
            for n, share in enumerate(SHARES)
        }
        reports |= {name: {"how_often": scale_report(share, 0.5)} for name, share in told.items()}
        found = decided(coins, reports)
        passed += found.outcome == REPORTS
        chances.append(found.evidence.power)
    assert least <= passed <= most
    if knows:  # the power that is told is about that which it has
        assert np.mean(chances) == pytest.approx(passed / 100, abs=0.1)


def acts_report(share):
    ones = np.ones(1)
    return Report.of(Items(metadata=({},), ratios={"share": (ones * share, ones)}), num_resamples=1)


def scale_report(own, referent):
    """A report of a probe, without having asked."""
    ones = np.ones(2)
    values = {"report": np.array([own, referent]) * 100, "valid": ones}
    return Report.of(
        Items(
            metadata=({"group": "own"}, {"group": "referent"}),
            ratios={name: (value, ones) for name, value in values.items()},
        ),
        num_resamples=1,
    )


def test_the_table_has_every_arm():
    coins = experiment(controls=4)
    reports = measured_by_hand(coins, lambda unit: subject(0.5, lambda own: 0.6 if own else 0.5))
    lines = lines_of(coins, reports)
    (line,) = (one for one in lines if (one.figure, one.whose) == ("report", "own - referent"))
    assert line.cells["trained"].values == pytest.approx([10] * 5, abs=1)
    table = arms_table(lines)
    assert "trained (5)" in table
    assert "none (4)" in table
    assert "acts" in table


def test_where_there_is_no_result_no_p_is_told():
    found = verdict(lambda share, own: share if own else 0.5, shares=SHARES[:3])
    assert found.p != found.p
    assert "p 0." not in str(found)
    assert "nan" not in str(found)
