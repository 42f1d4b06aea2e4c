"""Divergences: hand-worked numbers, an oracle over Python floats, identities, gradients."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from distmatch.losses.divergences import (
    DIVERGENCES,
    forward_kl,
    jensen_shannon,
    reverse_kl,
    skew_kl,
    total_variation,
    wasserstein1,
)

LOG2 = math.log(2)
KINDS = {
    **DIVERGENCES,
    **{f"jensen_shannon({b})": partial(jensen_shannon, beta=b) for b in (0.0, 0.1, 0.9, 1.0)},
    **{f"skew_kl({b})": partial(skew_kl, beta=b) for b in (0.0, 0.5)},
}
SYMMETRIC = ("jensen_shannon", "total_variation", "wasserstein1")
ORDER_MATTERS = ("wasserstein1",)
REVERSE = ("reverse_kl", "jensen_shannon(1.0)")
NOT_SMOOTH = ("total_variation", "wasserstein1")


def log(*probs):
    return torch.tensor(probs, dtype=torch.float64).log()


def target(*probs):
    return torch.tensor(probs, dtype=torch.float64)


# Model (1/2, 1/2, 0), target (1/2, 0, 1/2); the last outcome is other.
# TV: (|0| + 1/2 + 1/2) / 2 = 1/2. The mixture is (1/2, 1/4, 1/4), so both halves of JS are
# 1/2 log 1 + 1/2 log 2. The skew: mixture at beta 1/2 the same, KL(target || it) = 1/2 log 2.
# Wasserstein over the two words: model (1/2, 1/2), target (1, 0): half the mass goes one step.
@pytest.mark.parametrize(
    ("divergence", "expected"),
    [
        (forward_kl, math.inf),
        (reverse_kl, math.inf),
        (jensen_shannon, LOG2 / 2),
        (partial(skew_kl, beta=0.5), LOG2 / 2),
        (total_variation, 0.5),
        (wasserstein1, 0.5),
    ],
)
def test_a_worked_example_with_zeros(divergence, expected):
    value = divergence(log(0.5, 0.5, 0.0), target(0.5, 0.0, 0.5))
    assert value.item() == pytest.approx(expected)


# Model (1/4, 3/4), target (1/2, 1/2), other 0 in both.
# Forward: 1/2 log 2 + 1/2 log(2/3) = 1/2 log(4/3). Reverse: 1/4 log(1/2) + 3/4 log(3/2).
# Mixture (3/8, 5/8): JS is half of 1/2 log(4/3) + 1/2 log(4/5) and 1/4 log(2/3) + 3/4 log(6/5).
@pytest.mark.parametrize(
    ("divergence", "expected"),
    [
        (forward_kl, 0.5 * math.log(4 / 3)),
        (reverse_kl, 0.25 * math.log(1 / 2) + 0.75 * math.log(3 / 2)),
        (
            jensen_shannon,
            0.25 * math.log(16 / 15) + 0.125 * math.log(2 / 3) + 0.375 * math.log(6 / 5),
        ),
        (partial(skew_kl, beta=0.5), 0.5 * math.log(16 / 15)),
        (total_variation, 0.25),
        (wasserstein1, 0.25),
    ],
)
def test_a_worked_example(divergence, expected):
    value = divergence(log(0.25, 0.75, 0.0), target(0.5, 0.5, 0.0))
    assert value.item() == pytest.approx(expected)


def test_the_distance_between_neighbours_counts_in_wasserstein():
    one_step = wasserstein1(log(0.0, 1.0, 0.0, 0.0), target(1.0, 0.0, 0.0, 0.0))
    two_steps = wasserstein1(log(0.0, 0.0, 1.0, 0.0), target(1.0, 0.0, 0.0, 0.0))
    assert (one_step.item(), two_steps.item()) == (1.0, 2.0)


def test_wasserstein_says_nothing_about_other():
    plain = wasserstein1(log(0.2, 0.8, 0.0), target(0.5, 0.5, 0.0))
    with_other = wasserstein1(log(0.02, 0.08, 0.9), target(0.25, 0.25, 0.5))
    assert_close(plain, with_other)


def kl(p, q):
    return math.fsum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)


def mix(p, q, beta):
    return [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]


def oracle_js(q, p, beta=0.5):
    """By entropies: H(m) - beta H(p) - (1 - beta) H(q)."""

    def entropy(x):
        return -math.fsum(a * math.log(a) for a in x if a > 0)

    return entropy(mix(p, q, beta)) - beta * entropy(p) - (1 - beta) * entropy(q)


def oracle_transport(q, p):
    """Mass moved from left to right, a heap at a time."""
    have = [a / math.fsum(q[:-1]) for a in q[:-1]]
    want = [b / math.fsum(p[:-1]) for b in p[:-1]]
    cost, here, there = 0.0, 0, 0
    while here < len(have) and there < len(want):
        moved = min(have[here], want[there])
        cost += moved * abs(here - there)
        have[here] -= moved
        want[there] -= moved
        here, there = (here + 1, there) if have[here] <= want[there] else (here, there + 1)
    return cost


ORACLES = {
    "forward_kl": lambda q, p: kl(p, q),
    "reverse_kl": lambda q, p: kl(q, p),
    "jensen_shannon": oracle_js,
    "skew_kl": lambda q, p: kl(p, mix(p, q, 0.1)),
    "total_variation": lambda q, p: math.fsum(
        max(a - b, 0) for a, b in zip(q, p, strict=True)
    ),  # the excess, not half of both
    "wasserstein1": oracle_transport,
    **{f"jensen_shannon({b})": partial(oracle_js, beta=b) for b in (0.1, 0.9)},
    "jensen_shannon(0.0)": lambda q, p: kl(p, q),
    "jensen_shannon(1.0)": lambda q, p: kl(q, p),
    "skew_kl(0.0)": lambda q, p: kl(p, q),
    "skew_kl(0.5)": lambda q, p: kl(p, mix(p, q, 0.5)),
}

weights = st.floats(1e-3, 1.0)
pairs = st.integers(2, 5).flatmap(
    lambda size: st.tuples(*[st.lists(weights, min_size=size, max_size=size)] * 2)
)


def normalised(values):
    return [value / math.fsum(values) for value in values]


@pytest.mark.parametrize("name", KINDS)
@given(pairs)
def test_a_divergence_is_what_its_formula_says(name, pair):
    q, p = map(normalised, pair)
    value = KINDS[name](log(*q), target(*p)).item()
    assert value == pytest.approx(ORACLES[name](q, p), abs=1e-9)


@pytest.mark.parametrize("name", KINDS)
@given(pairs)
def test_a_divergence_is_never_negative_and_zero_at_a_match(name, pair):
    q, p = map(normalised, pair)
    assert KINDS[name](log(*q), target(*p)).item() >= -1e-12
    assert KINDS[name](log(*q), target(*q)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", [n for n in KINDS if n not in NOT_SMOOTH])
@given(pairs)
def test_a_divergence_is_flat_at_a_match(name, pair):
    logits = torch.tensor(pair[0], dtype=torch.float64, requires_grad=True)
    KINDS[name](logits.log_softmax(-1), logits.detach().softmax(-1)).backward()
    assert_close(logits.grad, torch.zeros_like(logits), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", SYMMETRIC)
@given(pairs)
def test_a_symmetric_divergence_is(name, pair):
    q, p = map(normalised, pair)
    there, back = KINDS[name](log(*q), target(*p)), KINDS[name](log(*p), target(*q))
    assert_close(there, back, atol=1e-12, rtol=1e-9)


@given(pairs, st.floats(0.01, 0.99))
def test_jensen_shannon_swaps_with_its_weight(pair, beta):
    q, p = map(normalised, pair)
    there = jensen_shannon(log(*q), target(*p), beta=beta)
    assert_close(there, jensen_shannon(log(*p), target(*q), beta=1 - beta))


@pytest.mark.parametrize("name", [n for n in KINDS if n not in ORDER_MATTERS])
@given(pairs)
def test_the_order_of_outcomes_does_not_matter(name, pair):
    q, p = map(normalised, pair)
    there = KINDS[name](log(*q), target(*p))
    assert_close(there, KINDS[name](log(*q[::-1]), target(*p[::-1])))


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "jensen_shannon", "total_variation"])
@given(pairs)
def test_merging_two_outcomes_never_adds_divergence(name, pair):
    q, p = map(normalised, pair)
    merged = [[*x[2:], x[0] + x[1]] for x in (q, p)]
    value = KINDS[name](log(*merged[0]), target(*merged[1]))
    assert value.item() <= KINDS[name](log(*q), target(*p)).item() + 1e-12


@given(pairs)
def test_divergences_are_bounded(pair):
    q, p = map(normalised, pair)
    assert jensen_shannon(log(*q), target(*p)).item() <= LOG2 + 1e-12
    assert skew_kl(log(*q), target(*p)).item() <= -math.log(0.1) + 1e-12
    tv = total_variation(log(*q), target(*p)).item()
    assert 2 * tv**2 <= forward_kl(log(*q), target(*p)).item() + 1e-12  # Pinsker


def test_disjoint_distributions_reach_the_bounds():
    q, p = log(1.0, 0.0, 0.0), target(0.0, 1.0, 0.0)
    assert jensen_shannon(q, p).item() == pytest.approx(LOG2)
    assert total_variation(q, p).item() == 1.0
    assert skew_kl(q, p).item() == pytest.approx(-math.log(0.1))
    # JS at beta: only one side of the mixture is there, so beta log(1/beta) + ...
    wanted = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert jensen_shannon(q, p, beta=0.9).item() == pytest.approx(wanted)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
@pytest.mark.parametrize("name", KINDS)
def test_leading_axes_are_kept(name, shape):
    q = torch.randn(*shape, 4).log_softmax(-1)
    p = torch.rand(*shape, 4).softmax(-1)
    together = KINDS[name](q, p)
    assert together.shape == shape
    rows = [KINDS[name](a, b) for a, b in zip(q.reshape(-1, 4), p.reshape(-1, 4), strict=True)]
    assert_close(together.flatten(), torch.stack(rows) if rows else torch.zeros(0))


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_those_of_finite_differences(name):
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(3, 4, dtype=torch.float64).softmax(-1)
    assert torch.autograd.gradcheck(lambda x: KINDS[name](x.log_softmax(-1), wanted), logits)


@pytest.mark.parametrize("name", KINDS)
def test_impossible_and_unwanted_outcomes_have_finite_gradients(name):
    log_probs = log(0.5, 0.5, 0.0, 0.0).requires_grad_()  # an outcome neither side has, too
    value = KINDS[name](log_probs, target(0.25, 0.75, 0.0, 0.0))
    value.backward()
    assert value.isfinite()
    assert log_probs.grad.isfinite().all()


@pytest.mark.parametrize("name", [n for n in KINDS if n not in REVERSE])
def test_an_unwanted_outcome_of_the_model_is_finite(name):
    log_probs = log(0.5, 0.25, 0.25).requires_grad_()
    value = KINDS[name](log_probs, target(1.0, 0.0, 0.0))
    value.backward()
    assert value.isfinite()
    assert log_probs.grad.isfinite().all()


@pytest.mark.parametrize("name", REVERSE)
def test_reverse_kl_is_infinite_where_the_target_has_a_zero(name):
    assert KINDS[name](log(0.5, 0.25, 0.25), target(0.5, 0.5, 0.0)).item() == math.inf


@pytest.mark.parametrize("name", ["jensen_shannon", "skew_kl", "total_variation", "wasserstein1"])
def test_a_wanted_outcome_the_model_rules_out_is_finite(name):
    log_probs = log(0.0, 0.75, 0.25).requires_grad_()
    value = KINDS[name](log_probs, target(0.5, 0.5, 0.0))
    value.backward()
    assert value.isfinite()
    assert log_probs.grad.isfinite().all()


@pytest.mark.parametrize("name", ["forward_kl", "jensen_shannon(0.0)", "skew_kl(0.0)"])
def test_forward_kl_is_infinite_where_the_model_has_a_zero(name):
    assert KINDS[name](log(0.0, 0.75, 0.25), target(0.5, 0.5, 0.0)).item() == math.inf


@pytest.mark.parametrize("name", KINDS)
def test_a_probability_that_underflows_gives_no_nan(name):
    log_probs = torch.tensor([0.0, -200.0, -300.0], requires_grad=True)
    value = KINDS[name](log_probs, torch.tensor([0.5, 0.5, 0.0]))
    value.backward()
    assert not value.isnan()
    assert log_probs.grad.isfinite().all()


def test_forward_kl_of_an_underflowing_word_is_exact():
    # 1/2 log(1/2) + 1/2 (log(1/2) + 200) = 100 - log 2
    value = forward_kl(torch.tensor([0.0, -200.0, -300.0]), torch.tensor([0.5, 0.5, 0.0]))
    assert value.item() == pytest.approx(100 - LOG2)


def test_jensen_shannon_vanishes_towards_both_ends_but_not_at_them():
    q, p = log(0.2, 0.5, 0.3), target(0.6, 0.3, 0.1)
    for beta in (1e-6, 1 - 1e-6):
        assert jensen_shannon(q, p, beta=beta).item() < 1e-5
    assert jensen_shannon(q, p, beta=0).item() == forward_kl(q, p).item()
    assert jensen_shannon(q, p, beta=1).item() == reverse_kl(q, p).item()
    nearly = jensen_shannon(q, p, beta=1e-6) / 1e-6
    assert_close(nearly, forward_kl(q, p), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("divergence", "beta"),
    [(f, b) for f in (jensen_shannon, skew_kl) for b in (-0.1, 1.1, math.nan)] + [(skew_kl, 1.0)],
)
def test_a_weight_outside_its_range_is_refused(divergence, beta):
    with pytest.raises(ValueError, match=f"beta is {beta}, expected 0"):
        divergence(log(0.5, 0.5), target(0.5, 0.5), beta=beta)


def test_every_divergence_has_its_function_name():
    assert {name: function.__name__ for name, function in DIVERGENCES.items()} == {
        name: name for name in DIVERGENCES
    }
