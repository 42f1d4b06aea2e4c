import itertools
import math
import random

import pytest
import torch

from distmatch.losses.words import WordLogProbs
from distmatch.measuring.metrics import METRICS, Outcomes, metric_ratios, slope_ratio


def outcomes(given, target, is_free=None):
    """Rows of probabilities (words, then other), of any number of words."""
    width = max(map(len, given)) - 1
    counts = torch.tensor([len(row) - 1 for row in given])
    return Outcomes(
        scores(given, width),
        torch.tensor([[*row[:-1], *[0.0] * (width + 1 - len(row)), row[-1]] for row in target]),
        torch.arange(width) < counts[:, None],
        torch.tensor(is_free or [False] * len(given)),
    )


def scores(given, width):
    words = [[*row[:-1], *[0.0] * (width + 1 - len(row))] for row in given]
    return WordLogProbs(torch.tensor(words).log(), torch.tensor([row[-1] for row in given]).log())


def values(*args):
    return {name: ratio.value() for name, ratio in metric_ratios(*args).items()}


def random_rows(rng, counts):
    rows = [[rng.random() for _ in range(count + 1)] for count in counts]
    return [[weight / math.fsum(row) for weight in row] for row in rows]


def test_every_metric_is_there_in_order():
    assert tuple(values(outcomes([[0.5, 0.5, 0.0]], [[0.7, 0.3, 0.0]]))) == METRICS


def test_metrics_worked_by_hand():
    # Words 0.3 : 0.1 renormalise to 0.75 : 0.25, asked 0.5 : 0.5.
    # TVD 0.5 (|.3-.5| + |.1-.5| + |.6-0|) = 0.6; KL 0.5 ln(.5/.3) + 0.5 ln(.5/.1) = 1.0601.
    got = values(outcomes([[0.3, 0.1, 0.6]], [[0.5, 0.5, 0.0]]))
    assert got["tvd"] == pytest.approx(0.6)
    assert got["forward_kl"] == pytest.approx(1.0601, abs=1e-4)
    assert got["other"] == pytest.approx(0.6)
    assert got["control_tvd"] == pytest.approx(0.25)
    assert [got[f"within_{limit}"] for limit in ("0.05", "0.10", "0.20")] == [0, 0, 0]
    assert math.isnan(got["swap_gap"])
    assert math.isnan(got["slope"])  # 1/2 was asked, as ignoring the numbers would give


@pytest.mark.parametrize("seed", range(4))
def test_metrics_agree_with_plain_python(seed):
    rng = random.Random(seed)
    counts = [rng.choice([2, 3, 4]) for _ in range(7)]
    given, target = random_rows(rng, counts), random_rows(rng, counts)
    got, pairs = values(outcomes(given, target)), list(zip(given, target, strict=True))
    tvds = [sum(max(g - t, 0) for g, t in zip(*pair, strict=True)) for pair in pairs]
    kls = [
        sum(t * (math.log2(t) - math.log2(g)) * math.log(2) for g, t in zip(*pair, strict=True))
        for pair in pairs
    ]
    control = [1 - sum(map(min, *map(over_words, pair))) for pair in pairs]
    assert got["tvd"] == pytest.approx(math.fsum(tvds) / 7, abs=1e-5)
    assert got["forward_kl"] == pytest.approx(math.fsum(kls) / 7, abs=1e-5)
    assert got["control_tvd"] == pytest.approx(math.fsum(control) / 7, abs=1e-5)
    assert got["within_0.20"] == pytest.approx(sum(tvd <= 0.2 for tvd in tvds) / 7)


def over_words(row):
    return [value / sum(row[:-1]) for value in row[:-1]]


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0, 1.3])
def test_the_slope_is_the_one_the_answers_were_made_with(slope):
    asked = [[0.7, 0.3], [0.6, 0.3, 0.1], [0.45, 0.55]]
    mixed = [[1 / len(row) + slope * (p - 1 / len(row)) for p in row] for row in asked]
    given = [[*(0.2 * q for q in row), 0.8] for row in mixed]  # other changes nothing
    ratio = slope_ratio(outcomes(given, [[*row, 0.0] for row in asked]))
    assert ratio.value() == pytest.approx(slope, abs=1e-5)


def test_the_slope_of_two_words_is_that_of_a_line_fitted_to_the_first():
    asked, given = [0.9, 0.2, 0.6], [0.7, 0.5, 0.3]
    # Through (1/2, 1/2): (.4*.2 + (-.3)*0 + .1*(-.2)) / (.16 + .09 + .01) = .06 / .26
    rows = [[[p, 1 - p, 0.0] for p in side] for side in (given, asked)]
    assert slope_ratio(outcomes(*rows)).value() == pytest.approx(0.06 / 0.26)


@pytest.mark.parametrize(
    ("own", "rotated", "gap"),
    [
        ([0.7, 0.3, 0.0], [0.3, 0.7, 0.0], 0.0),  # perfect control
        ([0.25, 0.25, 0.5], [0.1, 0.1, 0.8], 0.0),  # uniform, whatever other is
        ([0.5, 0.0, 0.5], [0.1, 0.0, 0.9], 0.5),  # always the first of two
        ([0.8, 0.2, 0.0], [0.6, 0.4, 0.0], 0.2),  # |1.4 - 1| and |0.6 - 1|, mean 0.4, over 2
    ],
)
def test_swap_gap_worked_by_hand(own, rotated, gap):
    asked = outcomes([own], [[0.7, 0.3, 0.0]])
    assert values(asked, scores([rotated], 2), torch.tensor([0]))["swap_gap"] == pytest.approx(gap)


def test_swap_gap_counts_only_examples_with_all_their_rotations():
    asked = outcomes([[0.8, 0.2, 0.0], [0.2, 0.3, 0.5, 0.0]], [[0.7, 0.3, 0.0], [0.1, 0.2, 0.7, 0]])
    rotated = scores([[0.9, 0.05, 0.05, 0.0], [0.6, 0.4, 0.0]], 3)
    got = metric_ratios(asked, rotated, torch.tensor([1, 0]))["swap_gap"]
    torch.testing.assert_close(got.numerator, torch.tensor([0.2, 0.0]))
    torch.testing.assert_close(got.denominator, torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("num_words", [2, 3])
def test_no_constant_beats_the_policy(num_words, seed):
    rng = random.Random(seed)
    rows = random_rows(rng, [num_words] * rng.choice([1, 2, 5, 8]))
    asked = [over_words(row) for row in rows]
    got = values(outcomes(rows, rows))["policy_tvd"]
    assert got == pytest.approx(
        min(mean_tvd(constant, asked) for constant in corners(asked)), abs=1e-6
    )
    assert got <= mean_tvd([1 / num_words] * num_words, asked) + 1e-6


def mean_tvd(constant, rows):
    return sum(math.dist([c], [p]) for row in rows for c, p in zip(constant, row, strict=True)) / (
        2 * len(rows)
    )


def corners(rows):
    """Where a sum of absolute differences can be least: all words but one at a value of theirs."""
    columns = [{0.0, *column} for column in zip(*rows, strict=True)]
    for rest in range(len(columns)):
        for chosen in itertools.product(*columns[:rest], *columns[rest + 1 :]):
            if sum(chosen) <= 1:
                yield [*chosen[:rest], 1 - sum(chosen), *chosen[rest:]]


def test_the_policy_is_fitted_for_each_number_of_words():
    # Two words: any constant from 0.6 to 0.8 errs by 0.2 in all. Three: the row itself.
    target = [[0.6, 0.4, 0.0], [0.8, 0.2, 0.0], [0.5, 0.3, 0.2, 0.0]]
    ratio = metric_ratios(outcomes(target, target))["policy_tvd"]
    assert ratio.value() == pytest.approx(0.2 / 3)
    assert ratio.numerator[2] == pytest.approx(0.0, abs=1e-6)


def test_examples_without_control_leave_the_others_as_they_are():
    fine = ([0.6, 0.2, 0.2], [0.7, 0.3, 0.0])
    suppressed = ([0.1, 0.2, 0.7], [0.0, 0.0, 1.0])  # nothing asked of the words
    single = ([0.4, 0.6], [0.3, 0.7])
    alone = values(outcomes([fine[0]], [fine[1]]))
    among = values(outcomes(*map(list, zip(suppressed, fine, single, strict=True))))
    for name in ("control_tvd", "slope", "policy_tvd"):
        assert among[name] == pytest.approx(alone[name])
    assert among["tvd"] == pytest.approx((0.3 + 0.2 + 0.1) / 3)


def test_where_other_is_free_the_words_alone_are_matched():
    got = values(outcomes([[0.07, 0.03, 0.9]], [[0.7, 0.3, 0.0]], is_free=[True]))
    assert got["tvd"] == pytest.approx(0.0, abs=1e-6)
    assert got["forward_kl"] == pytest.approx(0.0, abs=1e-6)
    assert got["other"] == pytest.approx(0.9)


def test_a_word_ruled_out_is_an_infinite_kl_and_an_ordinary_tvd():
    got = values(outcomes([[1.0, 0.0, 0.0]], [[0.7, 0.3, 0.0]]))
    assert got["forward_kl"] == math.inf
    assert got["tvd"] == pytest.approx(0.3)


def test_words_without_any_probability_say_nothing_about_control():
    got = values(outcomes([[0.0, 0.0, 1.0]], [[0.7, 0.3, 0.0]]))
    assert math.isnan(got["control_tvd"])
    assert got["tvd"] == pytest.approx(1.0)


def test_a_broken_model_is_not_passed_over():
    got = values(outcomes([[math.nan, math.nan, math.nan], [0.7, 0.3, 0.0]], [[0.7, 0.3, 0.0]] * 2))
    assert all(math.isnan(got[name]) for name in ("tvd", "control_tvd", "slope"))


@pytest.mark.parametrize("count", range(2, 24))
def test_equal_probabilities_say_nothing_about_the_slope(count):
    target = torch.cat([torch.full((1, count), 1 / count), torch.zeros(1, 1)], dim=1)
    log_probs = torch.randn(1, count + 1).log_softmax(-1)
    scores = WordLogProbs(log_probs[:, :-1], log_probs[:, -1])
    is_word = torch.ones(1, count, dtype=torch.bool)
    outcomes = Outcomes(scores, target, is_word, torch.zeros(1, dtype=torch.bool))
    assert slope_ratio(outcomes).denominator.item() == 0


def test_swap_gap_leaves_out_examples_with_a_rotation_that_rules_out_every_word():
    asked = outcomes([[0.8, 0.2, 0.0], [0.0, 0.0, 1.0], [0.6, 0.4, 0.0]], [[0.7, 0.3, 0.0]] * 3)
    rotated = scores([[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], 2)
    got = metric_ratios(asked, rotated, torch.tensor([0, 1, 2]))["swap_gap"]
    torch.testing.assert_close(got.numerator, torch.tensor([0.35, 0.0, 0.0]))
    torch.testing.assert_close(got.denominator, torch.tensor([1.0, 0.0, 0.0]))
