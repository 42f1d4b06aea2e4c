"""The head of two models that hardly differ, in full and in bfloat16."""

import pytest
import torch

from distmatch.losses.retention import retention_kl_of_states
from distmatch.models.head import PairedHead, head_logits, is_rounded
from tests.architectures import architecture
from tests.tiny import FAMILIES, tiny_model

VOCAB = 320
MAKINGS = ("llama", "gemma2", "granite", "phi")  # soft-caps, scales, a bias


def made(name):
    model = tiny_model(name) if name in FAMILIES else architecture(name)
    return model.requires_grad_(False)


def near_states(model, distance=0.02):
    """Of forty rows as a decoder's norm leaves them, and of a base that little differs."""
    torch.manual_seed(0)
    base = torch.randn(40, model.config.get_text_config().hidden_size)
    return base + distance * torch.randn_like(base), base


def outcome(heads, states, base):
    """Each row's KL and its gradient."""
    states = states.clone().requires_grad_()
    values = retention_kl_of_states(states, base, heads, VOCAB)
    values.sum().backward()
    return values.detach().double(), states.grad.double()


def distance(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("mixed", [None, torch.float16])
@pytest.mark.parametrize("name", MAKINGS)
def test_logits_are_those_of_the_head_alone(name, mixed):
    model = made(name)
    states = near_states(model)
    found = PairedHead(model, mixed)(*states)
    for logits, given in zip(found, states, strict=True):
        torch.testing.assert_close(logits, head_logits(model, given))


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MAKINGS)
def test_in_bfloat16_their_difference_keeps_its_digits(name, weights):
    model = made(name).to(weights)
    states, base = near_states(model)
    found = outcome(PairedHead(model, torch.bfloat16), states, base)

    def rounded(*given):
        return tuple(head_logits(model, part).bfloat16().float() for part in given)

    alone = outcome(rounded, states, base)
    model.double()
    wanted = outcome(PairedHead(model, None), states.double(), base.double())
    for mine, simple, exact in zip(found, alone, wanted, strict=True):
        assert distance(mine, exact) < 0.01
        assert distance(mine, exact) < 0.2 * distance(simple, exact)


def test_in_bfloat16_what_changes_nothing_has_no_kl_and_no_gradient():
    model = made("phi")
    model.lm_head.bias.add_(-100)  # an offset of all logits, where rounding is coarse
    states, _ = near_states(model)
    values, gradient = outcome(PairedHead(model, torch.bfloat16), states, states)
    assert values.abs().max() < 1e-6 and gradient.abs().max() < 1e-6


def test_what_is_not_there_or_exact_is_not_rounded():
    model = made("llama")
    assert is_rounded(model.lm_head, torch.bfloat16)
    assert not is_rounded(model.lm_head, torch.float16)
    states = near_states(model)
    wanted = tuple(head_logits(model, given) for given in states)
    model.lm_head.weight.data = model.lm_head.weight.double()
    exact = PairedHead(model, torch.bfloat16)(*(given.double() for given in states))
    assert exact[0].dtype == torch.float64
    torch.testing.assert_close(exact, wanted, check_dtype=False, rtol=1e-4, atol=1e-4)
    assert PairedHead(made("llama").to("meta"), torch.bfloat16)._weight is None


def test_in_bfloat16_no_product_is_made_in_float32(monkeypatch):
    model = made("llama")
    heads = PairedHead(model, torch.bfloat16)
    monkeypatch.setattr(
        model.lm_head.weight, "data", torch.full_like(model.lm_head.weight, torch.nan)
    )
    states, base = near_states(model)
    assert outcome(heads, states, base)[1].isfinite().all()
