"""What finished cells say, on numbers worked by hand."""

import math

import pytest

from distmatch.sweeps.findings import (
    block_numbers,
    control,
    findings,
    pooled_spread,
    student_interval,
)


def metrics(other, control_tvd, policy_tvd=0.25, tvd=0.5, slope=0.75):
    values = {"other": other, "control_tvd": control_tvd, "policy_tvd": policy_tvd, "tvd": tvd}
    values["slope"] = slope
    return {name: {"mean": value, "low": None, "high": None} for name, value in values.items()}


def row(site, blocks, seed, other, control_tvd, **given):
    name = f"{site}@{blocks}-rank{given.get('rank', 4)}-seed{seed}"
    about = {"site": site, "blocks": blocks, "seed": seed, "rank": 4, "learning_rate": 0.1}
    about |= {"parameters": 100}
    price = {"kl": 0.5, "train_seconds": 10.0 * (seed + 1), "flops": 1e9}
    far = None if control_tvd is None else control_tvd + 0.1
    both = {"main": metrics(other, control_tvd), "far": metrics(other, far)}
    return {"cell": name, **about, **price, "metrics": both} | given


BASE = {"main": metrics(0.9, 0.25), "far": metrics(0.9, 0.3)}
ROWS = [
    row("mlp", "0", 0, other=0.5, control_tvd=0.125),
    row("mlp", "0", 1, other=0.25, control_tvd=0.0625),
    row("q", "1-2", 0, other=0.0, control_tvd=0.0),
    {"cell": "q@0", "site": "q", "blocks": "0", "rank": 4}
    | {"learning_rate": 0.1, "failed": "diverged"},
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


def test_the_spread_is_pooled_by_hand():
    # Within: (1, 3): 1 + 1; (4,): 0; (0, 3, 6): 9 + 0 + 9. Sum 20 over 1 + 0 + 2 degrees.
    assert pooled_spread([[1, 3], [4], [0, 3, 6]]) == (pytest.approx(math.sqrt(20 / 3)), 3)


@pytest.mark.parametrize(  # 97.5 % quantiles of Student's t, from tables
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (5, 2.571), (10, 2.228), (30, 2.042)]
)
def test_the_interval_is_students(freedom, quantile):
    mean, low, high = student_interval([1.0, 2.0, 3.0, 6.0], 0.5, freedom)
    assert mean == 3.0
    half = pytest.approx(quantile * 0.5 / 2, rel=1e-3)
    assert (high - mean, mean - low) == (half, half)


def test_one_seed_has_no_interval():
    (found,) = findings([ROWS[2]], BASE)
    assert found.control.mean == 0.25
    assert math.isnan(found.control.low)
    assert math.isnan(found.control.high)
    assert math.isnan(pooled_spread([[1.0], [2.0]])[0])


def test_control_is_zero_for_the_best_policy_without_the_numbers():
    assert control(metrics(0.5, 0.25)) == 0
    assert control(metrics(0.5, 0.375)) == -0.125


def test_failed_cells_say_nothing():
    assert findings([ROWS[-1]], BASE) == []


def test_cells_of_another_rank_are_others():
    rows = [ROWS[0], row("mlp", "0", 0, 0.5, 0.125, rank=8)]
    assert [(found.rank, found.num_seeds) for found in findings(rows, BASE)] == [(4, 1), (8, 1)]


def tried(rate, seed, control_tvd, tuning_tvd, blocks="0"):
    """A cell of a sweep with tuning examples."""
    told = {"main": metrics(0.5, control_tvd), "tuning": metrics(0.5, tuning_tvd)}
    return row("mlp", blocks, seed, 0, 0, learning_rate=rate, metrics=told)


TUNED = {"main": BASE["main"], "tuning": BASE["main"]}


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
    gone = {key: value for key, value in tried(0.2, 1, 0, 0).items() if key != "metrics"}
    assert chosen(rows) == chosen([*rows, gone | {"failed": "diverged"}]) == {("0", 0.1)}
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


@pytest.mark.parametrize(
    ("blocks", "numbers"),
    [("12", (12,)), ("0-3", (0, 1, 2, 3)), ("0,3,6", (0, 3, 6)), ("1,4-6", (1, 4, 5, 6))],
)
def test_blocks_are_read_as_numbers(blocks, numbers):
    assert block_numbers(blocks) == numbers


def test_the_slope_is_the_mean_over_seeds():
    both = [row("q", "0", seed, 0.5, 0.125) for seed in (0, 1)]
    both[1]["metrics"]["main"]["slope"]["mean"] = 0.25
    (found,) = findings(both, BASE)
    assert found.slope == 0.5  # mean of 0.75 and 0.25


ONE_WORD = metrics(0.5, None, policy_tvd=None, slope=None)


@pytest.mark.parametrize("missing", [("policy_tvd", "control_tvd"), ("control_tvd",)])
def test_where_no_example_tells_there_is_no_control(missing):
    told = metrics(0.5, 0.125) | {name: {"mean": None} for name in missing}
    assert math.isnan(control(told))


def test_examples_of_one_word_still_tell_of_copying():
    one = {"main": ONE_WORD, "far": ONE_WORD}
    rows = [row("mlp", "0", seed, 0, 0, metrics=one) for seed in (0, 1)]
    (found,) = findings(rows, {"main": ONE_WORD | {"other": {"mean": 0.75}}, "far": ONE_WORD})
    assert found.copying.mean == 0.25
    assert all(map(math.isnan, [*found.control, found.transfer["far"], found.slope]))


def test_a_cell_without_control_comes_last_and_leaves_the_others_their_intervals():
    gone = [row("v", "0", seed, 0.5, None) for seed in (0, 1)]
    worse = row("o", "0", 0, 0.5, 2.0)
    found = findings([gone[0], worse, *ROWS, gone[1]], BASE)
    assert [f.name for f in found] == ["q@1-2", "mlp@0", "o@0", "v@0"]
    assert found[1].control == findings(ROWS, BASE)[1].control
    assert all(map(math.isnan, found[3].control))
