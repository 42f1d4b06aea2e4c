"""Arms beside each other: of adapters that share seed and prompts, pair by pair."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from distmatch.experiments.tables import ArmFigure, arms_table, lines_of
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
