"""What finished cells say, on numbers worked by hand."""

import math
from dataclasses import replace

import pytest

from distmatch.sweeps.cells import Cell
from distmatch.sweeps.findings import findings
from distmatch.sweeps.results import Measures, Result, Training
from distmatch.sweeps.sets import Sets


def metrics(other, control_tvd, policy_tvd=0.25, tvd=0.5, slope=0.75):
    values = {"other": other, "control_tvd": control_tvd, "policy_tvd": policy_tvd, "tvd": tvd}
    values["slope"] = slope
    return {name: {"mean": value, "low": None, "high": None} for name, value in values.items()}


def result(site, blocks, seed, told, rank=4, rate=0.1):
    """What came of a cell, by the metrics of each set; of none a failure."""
    cell = Cell(site, blocks, seed, rank, rate, 0, 100)
    made = Result(cell=cell, config_hash="0", versions={}, device="CPU", failed="diverged")
    if told is None:
        return made
    took = {"steps": 3, "train_seconds": 10.0 * (seed + 1), "peak_memory_gb": 1.0, "flops": 1e9}
    measures = Measures(metrics=Sets.from_named(told), kl=0.5)
    return replace(made, training=Training(**took), measures=measures, failed=None)


def row(site, blocks, seed, other, control_tvd, **given):
    far = None if control_tvd is None else control_tvd + 0.1
    both = {"main": metrics(other, control_tvd), "far": metrics(other, far)}
    return result(site, blocks, seed, both, **given)


BASE = Sets.from_named({"main": metrics(0.9, 0.25), "far": metrics(0.9, 0.3)})
ROWS = [
    row("mlp", "0", 0, other=0.5, control_tvd=0.125),
    row("mlp", "0", 1, other=0.25, control_tvd=0.0625),
    row("q", "1-2", 0, other=0.0, control_tvd=0.0),
    result("q", "0", 0, None),
]


def test_gains_are_worked_by_hand():
    first, second = findings(ROWS, BASE)
    assert (first.name, second.name) == ("q@1-2", "mlp@0")  # most control first
    assert first.control.mean == 0.25  # 0.25 - 0
    assert first.copying.mean == 0.9  # 0.9 - 0
    assert second.control.mean == pytest.approx(0.15625)  # mean of 0.125 and 0.1875
    assert second.copying.mean == pytest.approx(0.525)  # mean of 0.4 and 0.65
    assert second.transfer == {"far": pytest.approx(0.05625)}  # mean of 0.025 and 0.0875
    assert (second.num_seeds, second.train_seconds, second.parameters) == (2, 15.0, 100)
    assert (second.tvd, second.kl, second.flops) == (0.5, 0.5, 1e9)


def test_intervals_are_students_with_the_spread_of_all_cells():
    # The only pair is 0.125 and 0.1875: its variance is 2 * 0.03125 ** 2, of 1 degree of freedom,
    # whose 97.5 % quantile is 12.7062 (tables).
    first, second = findings(ROWS, BASE)
    spread = math.sqrt(2) * 0.03125
    half = 12.7062 * spread / math.sqrt(2)
    assert second.control == pytest.approx((0.15625, 0.15625 - half, 0.15625 + half), rel=1e-5)
    assert first.control.high - first.control.mean == pytest.approx(12.7062 * spread, rel=1e-5)


def test_one_seed_has_no_interval():
    (found,) = findings([ROWS[2]], BASE)
    assert found.control.mean == 0.25
    assert math.isnan(found.control.low)
    assert math.isnan(found.control.high)


def test_failed_cells_say_nothing():
    assert findings([ROWS[-1]], BASE) == []


def test_cells_of_another_rank_are_others():
    rows = [ROWS[0], row("mlp", "0", 0, 0.5, 0.125, rank=8)]
    assert [(found.rank, found.num_seeds) for found in findings(rows, BASE)] == [(4, 1), (8, 1)]


def tried(rate, seed, control_tvd, tuning_tvd, blocks="0"):
    """A cell of a sweep with tuning examples."""
    told = {"main": metrics(0.5, control_tvd), "tuning": metrics(0.5, tuning_tvd)}
    return result("mlp", blocks, seed, told, rate=rate)


TUNED = Sets.from_named({"main": BASE.learned, "tuning": BASE.learned})


def chosen(rows):
    return {(f.blocks, f.learning_rate) for f in findings(rows, TUNED) if f.chosen}


def test_the_learning_rate_with_most_control_on_tuning_examples_is_chosen():
    rows = [tried(0.1, 0, 0.25, 0.125), tried(0.1, 1, 0.25, 0.0625)]  # mean of tuning 0.15625
    rows += [tried(0.2, seed, 0.0, 0.125) for seed in (0, 1)]  # better where it's reported
    rows += [tried(0.3, 0, 0.0, 0.0, blocks="1"), tried(0.1, 0, 0.0, 0.125, blocks="1")]
    assert chosen(rows) == {("0", 0.1), ("1", 0.3)}
    first = next(f for f in findings(rows, TUNED) if f.chosen and f.blocks == "0")
    assert (first.tuning, first.control.mean, first.num_seeds) == (0.15625, 0.0, 2)
    assert first.transfer == {}


def test_a_learning_rate_with_fewer_seeds_is_not_chosen():
    rows = [tried(0.1, seed, 0.25, 0.25) for seed in (0, 1)] + [tried(0.2, 0, 0.0, 0.0)]
    gone = result("mlp", "0", 1, None, rate=0.2)
    assert chosen(rows) == chosen([*rows, gone]) == {("0", 0.1)}
    assert chosen(rows[1:]) == {("0", 0.2)}


def test_of_equal_learning_rates_the_lower_is_chosen():
    rows = [tried(rate, 0, 0.25, 0.125) for rate in (0.2, 0.1, 0.3)]
    assert chosen(rows) == {("0", 0.1)}


def test_the_spread_is_that_of_chosen_learning_rates():
    rows = [tried(0.1, seed, control_tvd, 0.0) for seed, control_tvd in enumerate((0.0, 0.25))]
    ruined = [tried(1.0, seed, 8.0 * seed, 1.0) for seed in (0, 1)]
    (alone,) = findings(rows, TUNED)
    first, second = findings([*rows, *ruined], TUNED)
    assert (first.chosen, second.chosen) == (True, False)
    assert first.control == alone.control and first.copying == alone.copying


def test_where_tuning_examples_tell_nothing_another_learning_rate_is_chosen():
    rows = [tried(0.1, 0, 0.25, 0.5), tried(0.2, 0, 0.25, None)]
    assert chosen(rows) == chosen(rows[::-1]) == {("0", 0.1)}


def test_without_tuning_examples_the_only_learning_rate_is_chosen():
    assert all(f.chosen and math.isnan(f.tuning) for f in findings(ROWS, BASE))


def test_the_slope_is_the_mean_over_seeds():
    told = [metrics(0.5, 0.125, slope=slope) for slope in (0.75, 0.25)]
    both = [result("q", "0", seed, {"main": one, "far": one}) for seed, one in enumerate(told)]
    (found,) = findings(both, BASE)
    assert found.slope == 0.5  # mean of 0.75 and 0.25


ONE_WORD = metrics(0.5, None, policy_tvd=None, slope=None)


def test_examples_of_one_word_still_tell_of_copying():
    one = {"main": ONE_WORD, "far": ONE_WORD}
    rows = [result("mlp", "0", seed, one) for seed in (0, 1)]
    base = Sets.from_named(one | {"main": ONE_WORD | {"other": {"mean": 0.75}}})
    (found,) = findings(rows, base)
    assert found.copying.mean == 0.25
    assert all(map(math.isnan, [*found.control, found.transfer["far"], found.slope]))


def test_a_cell_without_control_comes_last_and_leaves_the_others_their_intervals():
    gone = [row("v", "0", seed, 0.5, None) for seed in (0, 1)]
    worse = row("o", "0", 0, 0.5, 2.0)
    found = findings([gone[0], worse, *ROWS, gone[1]], BASE)
    assert [f.name for f in found] == ["q@1-2", "mlp@0", "o@0", "v@0"]
    assert found[1].control == findings(ROWS, BASE)[1].control
    assert all(map(math.isnan, found[3].control))
