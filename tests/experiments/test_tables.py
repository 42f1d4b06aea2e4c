"""Arms beside each other: of adapters that share seed and prompts, pair by pair."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from distmatch.experiments.tables import UNANSWERED, ArmFigure, arms_table, lines_of
from tests.experiments.small import SHARES, experiment, measured_by_hand, subject

TRAINED, OTHER = (0.7, 0.4, 0.9, 0.2, 0.6), (0.5, 0.1, 0.8, 0.15)


def test_those_of_one_seed_and_prompts_are_compared_pair_by_pair():
    twins = tuple("abcde")
    found = ArmFigure(TRAINED, twins).less(ArmFigure(OTHER, twins[:4]))
    wanted = ttest_rel(TRAINED[:4], OTHER)
    assert found.mean == pytest.approx(np.mean(np.subtract(TRAINED[:4], OTHER)))
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))


def test_those_of_other_prompts_are_compared_by_welch():
    found = ArmFigure(TRAINED, tuple("abcde")).less(ArmFigure(OTHER, tuple("wxyz")))
    wanted = ttest_ind(TRAINED, OTHER, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(wanted))


def test_shuffled_rows_are_twins_of_the_trained_and_neutral_ones_are_not():
    coins = experiment(SHARES, told=False, controls=4)
    learned = [unit for unit in coins.units if unit.arm == "trained"]
    shuffled = [replace(u, name=f"shuffled-{n}", arm="shuffled") for n, u in enumerate(learned)]
    coins = replace(coins, given_units=(*coins.units, *shuffled[:4]))
    says = {
        unit.name: 0.45 + 0.01 * place + 0.002 * (place % 2)
        for place, unit in enumerate(coins.units)
    }
    measured = measured_by_hand(coins, lambda unit: subject(0.5, lambda _: says[unit.name]))
    lines = lines_of(coins, measured)
    (line,) = (one for one in lines if (one.figure, one.whose) == ("report", "own"))
    apart = line.differences
    assert set(apart) == {"none", "shuffled"}
    widths = {arm: interval.high - interval.low for arm, interval in apart.items()}
    assert widths["shuffled"] < widths["none"] / 5  # nearly the same difference in every pair
    assert "trained - shuffled" in arms_table(lines)
    assert coins.seed_of(learned[2]) == coins.seed_of(coins.units[-2]) == 2


def test_figures_of_an_arm_that_answers_too_little_are_marked():
    coins = experiment(SHARES, told=False, controls=4)

    def subject_of(unit):
        one = subject(0.5, lambda _: 0.6)
        share = 0.3 if unit.arm == "none" else 0.9
        return replace(one, probs_of=lambda row: [share * p for p in one.probs_of(row)])

    lines = lines_of(coins, measured_by_hand(coins, subject_of))
    by_name = {(line.figure, line.whose): line for line in lines if line.probe != "acts"}
    for whose in ("own", "own - referent"):
        line = by_name["report", whose]
        assert line.unanswered == {"none"}
        assert line.told("none").endswith(UNANSWERED) and UNANSWERED not in line.told("trained")
    assert UNANSWERED not in by_name["valid", "own"].told("none")
    assert UNANSWERED in arms_table(lines)
