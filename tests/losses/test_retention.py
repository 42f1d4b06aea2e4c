"""KL to the base on ordinary text."""

import math

import pytest
import torch

from distmatch.losses import retention
from distmatch.losses.retention import retention_kl, retention_kl_of_states


def test_a_worked_example():
    # Base (1/2, 1/2), adapted (1/4, 3/4): 1/2 log 2 + 1/2 log(2/3) = 1/2 log(4/3)
    base = torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    adapted = torch.tensor([[1.0, 3.0], [0.5, 0.5]]).log()
    expected = torch.tensor([0.5 * math.log(4 / 3), 0.0])
    torch.testing.assert_close(retention_kl(adapted, base), expected)


def test_each_row_is_the_sum_of_its_terms():
    ours, base = torch.randn(5, 7), torch.randn(5, 7)
    for row, value in enumerate(retention_kl(ours, base).tolist()):
        q, p = (logits[row].double().softmax(-1).tolist() for logits in (ours, base))
        terms = [a * math.log(a / b) for a, b in zip(p, q, strict=True)]
        assert value == pytest.approx(math.fsum(terms), abs=1e-6)


@pytest.mark.parametrize("num_rows", [0, 1, 3, 4, 5, 9])
def test_chunks_change_neither_values_nor_gradients(monkeypatch, num_rows):
    base = torch.randn(num_rows, 6)
    start = torch.randn(num_rows, 6)
    results = []
    for chunk in (4, 100):
        monkeypatch.setattr(retention, "_CHUNK", chunk)
        logits = start.clone().requires_grad_()
        values = retention_kl(logits, base)
        values.square().sum().backward()
        results.append((values.detach(), logits.grad))
    torch.testing.assert_close(results[0], results[1])


def test_the_gradient_is_the_difference_of_the_probabilities():
    logits = torch.randn(5, 7, requires_grad=True)
    base = torch.randn(5, 7)
    retention_kl(logits, base).sum().backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(-1) - base.softmax(-1)).detach())


def test_the_gradient_is_that_of_finite_differences():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    base = torch.randn(3, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: retention_kl(x, base), logits)


def test_the_base_itself_is_at_no_distance():
    logits = torch.randn(4, 6) * 50
    torch.testing.assert_close(retention_kl(logits, logits), torch.zeros(4))


def test_tokens_the_base_rules_out_cost_nothing():
    base = torch.tensor([[0.0, 0.0, -torch.inf]])
    logits = torch.zeros(1, 3, requires_grad=True)
    value = retention_kl(logits, base)
    value.sum().backward()
    assert value.item() == pytest.approx(math.log(3 / 2))
    assert logits.grad.isfinite().all()


def heads(dtype=torch.float64):
    """States of nine rows, and two heads, one of them behind a soft-cap."""
    torch.manual_seed(0)
    states, base = torch.randn(2, 9, 4, dtype=dtype)
    first, second = torch.randn(2, 11, 4, dtype=dtype)
    return states, base, lambda x, y: (3 * (x @ first.T / 3).tanh(), y @ second.T)


@pytest.mark.parametrize("rows_at_once", [1, 2, 9, 100])
def test_of_states_it_is_that_of_the_logits_they_become(rows_at_once, monkeypatch):
    monkeypatch.setattr(retention, "CHUNK_BYTES", 4 * 11 * rows_at_once)
    start, base, both = heads()
    found = []
    for kl in (
        lambda x: retention_kl_of_states(x, base, both, 11),
        lambda x: retention_kl(*both(x, base)),
    ):
        states = start.clone().requires_grad_()
        values = kl(states)
        values.square().sum().backward()
        found.append((values.detach(), states.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)


def test_of_states_its_gradient_is_that_of_finite_differences():
    states, base, both = heads()
    assert torch.autograd.gradcheck(
        lambda x: retention_kl_of_states(x, base, both, 11), states.requires_grad_()
    )


def test_of_states_no_more_logits_exist_than_said(monkeypatch):
    monkeypatch.setattr(retention, "CHUNK_BYTES", 4 * 11 * 2)
    states, base, both = heads()
    sizes = []

    def seen(*given):
        sizes.append(len(given[0]))
        return both(*given)

    with torch.no_grad():
        retention_kl_of_states(states, base, seen, 11)
    assert sizes == [2, 2, 2, 2, 1]
