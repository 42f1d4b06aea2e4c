"""Layers of one input computed as one: whose they are, and the numbers of each by itself."""

import copy

import pytest
import torch

from distmatch.models.attaching import attach_lora
from distmatch.models.cast_once import CastOnce
from distmatch.models.fused_lora import FusedLinear
from distmatch.models.lora import lora
from distmatch.models.siblings import Siblings, _How, _Products, given_together
from tests.models.test_cast_once import outcome
from tests.tiny import FAMILIES, randomise_adapter, tiny_model


def layers_of(model):
    return [module for module in model.modules() if isinstance(module, FusedLinear)]


def names(model, families):
    of = {module: name.rpartition(".")[2] for name, module in model.named_modules()}
    return {tuple(of[layer] for layer in family) for family in families}


def adapted(family, **changes):
    model = attach_lora(tiny_model(family), lora("all", rank=2, **changes), seed=0)
    randomise_adapter(model, 0.1)
    return model


def test_layers_of_one_input_are_found_by_what_they_are_given():
    model = adapted("llama")
    modes = [module.training for module in model.modules()]
    families = given_together(model, layers_of(model))
    together = {("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj")}
    assert names(model, families) == together | {("down_proj",)}
    assert len(families) == 4 * 4 and [m.training for m in model.modules()] == modes
    gpt2 = adapted("gpt2") if "gpt2" in FAMILIES else model
    assert sum(map(len, given_together(gpt2, layers_of(gpt2)))) == len(layers_of(gpt2))


def test_of_a_model_that_cannot_be_tried_all_are_alone(monkeypatch):
    model = adapted("llama")
    monkeypatch.setattr(type(model.get_base_model()), "forward", lambda *_, **__: 1 / 0)
    assert given_together(model, layers_of(model)) == []
    assert not any(layer._forward_pre_hooks for layer in layers_of(model))


@pytest.mark.parametrize("bias", [True, False])
def test_in_float64_values_and_gradients_are_those_of_each_by_itself(bias):
    torch.manual_seed(0)
    widths, ranks, inputs, scaling = [6, 4, 5], [2, 3, 1], 7, 1.7

    def drawn(*shape):
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    x, a = drawn(2, 3, inputs), drawn(sum(ranks), inputs)
    bs = [drawn(width, rank) for width, rank in zip(widths, ranks, strict=True)]
    weight = drawn(sum(widths), inputs).detach()
    added = drawn(sum(widths)).detach() if bias else None

    def together(x, a, *bs):
        rows = x.detach().reshape(-1, inputs)
        return _Products.apply(x, a, rows, (weight, added), _How(scaling, ranks, widths), *bs)

    def apart(x, a, *bs):
        whole = torch.nn.functional.linear(x, weight, added).split(widths, -1)
        inner = (x @ a.T).split(ranks, -1)
        return tuple(w + scaling * i @ b.T for w, i, b in zip(whole, inner, bs, strict=True))

    torch.testing.assert_close(together(x, a, *bs), apart(x, a, *bs), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(together, (x, a, *bs))
    found, wanted = (
        torch.autograd.grad(sum(y.pow(3).sum() for y in way(x, a, *bs)), (x, a, *bs))
        for way in (together, apart)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    first, *_ = together(x, a, *bs)  # alone, whatever becomes of the others
    wanted = torch.autograd.grad(
        apart(x, a, *bs)[0].sum(), (x, a, *bs), allow_unused=True, materialize_grads=True
    )
    torch.testing.assert_close(torch.autograd.grad(first.sum(), (x, a, *bs)), wanted)
    together(x, a, *bs)[1].clamp_(min=0).sum().backward()  # as some models do


@pytest.mark.parametrize("family", FAMILIES)
def test_in_mixed_precision_they_are_no_further_from_float64(family):
    model = adapted(family)
    exact = copy.deepcopy(model).double()
    true = outcome(exact, mixed=False)
    plain = outcome(model)
    with CastOnce(model, torch.bfloat16).installed():
        lent = [layer for layer in layers_of(model) if layer.siblings]
        found = outcome(model)
    assert not any(layer.siblings or layer.cast_factors for layer in layers_of(model))
    assert lent or family in {"gpt2", "gpt_oss"}

    def error(numbers):
        logits, gradients = numbers
        pairs = [(logits, true[0].detach()), *zip(gradients, true[1], strict=True)]
        parts = [(n.detach().double() - t).norm() / t.norm() for n, t in pairs]
        return float(sum(parts)) / len(parts)

    assert error(found) <= 1.1 * error(plain)


def test_one_that_is_given_another_input_after_all_computes_for_itself():
    model = adapted("llama")
    q, k = layers_of(model)[:2]
    x, other = torch.randn(2, 3, 48), torch.randn(2, 3, 48)
    with torch.autocast("cpu", torch.bfloat16), CastOnce(model, torch.bfloat16).installed():
        assert isinstance(q.siblings["default"], Siblings)
        assert q.siblings["default"] is k.siblings["default"]
        of_q, of_k = q(x), k(other)
        alone = k(other)
        x.add_(1)  # the same tensor, with other numbers
        changed = k(x)
    with torch.autocast("cpu", torch.bfloat16):
        for found, wanted in (
            (of_q, q(x - 1)),
            (of_k, k(other)),
            (alone, k(other)),
            (changed, k(x)),
        ):
            torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)


def test_those_of_other_scalings_stay_alone():
    model = adapted("llama")
    layers_of(model)[0].scaling["default"] *= 2
    with CastOnce(model, torch.bfloat16).installed():
        lent = [bool(layer.siblings) for layer in layers_of(model)[:7]]
    assert lent == [False, False, False, False, True, True, False]
