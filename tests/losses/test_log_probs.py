"""Log-probabilities over a whole vocabulary, against float64."""

import pytest
import torch
from torch.testing import assert_close

from distmatch.losses import log_probs_of


@pytest.mark.parametrize("size", [2, 300, 49_152, 151_936, 262_144])
@pytest.mark.parametrize("scale", [1e-3, 3.0, 30.0])
def test_they_are_those_of_float64(size, scale):
    logits = scale * torch.randn(8, size) + 17
    ours = log_probs_of(logits)
    exact = logits.double().log_softmax(-1)
    assert_close(ours.double(), exact, atol=2e-6 + 1e-7 * scale, rtol=1e-7)
    assert ours.max() <= 0
    assert_close(ours.double().exp().sum(-1), torch.ones(8).double(), atol=1e-6, rtol=0)


def test_large_logits_cost_no_digits():
    logits = torch.randn(4, 1000)
    assert_close(log_probs_of(logits.double() + 1e6), log_probs_of(logits.double()))
    sure = torch.tensor([[1e30, 0.0, -1e30]])
    assert log_probs_of(sure).tolist() == (sure - 1e30).tolist()


def test_impossible_tokens_stay_so_and_no_number_stays_none():
    logits = torch.tensor([[0.0, -torch.inf, 0.0], [0.0, torch.nan, 0.0], [0.0, torch.inf, 0.0]])
    possible, *wrong = log_probs_of(logits)
    assert possible[1] == -torch.inf and possible[[0, 2]].exp().sum() == pytest.approx(1)
    assert all(row.isnan().any() for row in wrong)


def test_gradients_are_those_of_finite_differences():
    logits = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_probs_of, logits)
    assert torch.autograd.gradgradcheck(log_probs_of, logits)
