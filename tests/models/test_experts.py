"""Packed experts against the dense model they stand for, and what they keep in memory."""

import copy

import pytest
import torch

from distmatch.models import experts
from distmatch.models.experts import (
    MATRICES,
    PackedExperts,
    _grouped,
    _Groups,
    _multiply,
    experts_forward,
)
from distmatch.models.mxfp4 import dequantize, quantize
from tests.tiny import tiny_model

HIDDEN, INNER, EXPERTS, CHOSEN = 64, 96, 4, 2


def layers(dtype=torch.float32):
    """A packed layer, and the dense one of transformers with the same numbers, unpacked."""
    config = {"hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": 1}
    model = tiny_model("gpt_oss", dtype=dtype, experts_implementation="eager", **config)
    dense = model.model.layers[0].mlp.experts
    packed = PackedExperts(dense)
    with torch.no_grad():
        for name in MATRICES:
            blocks, scales = packed.packed(name)
            for storage, new in zip(
                (blocks, scales), quantize(getattr(dense, name).mT), strict=True
            ):
                storage.copy_(new)
            getattr(dense, name).copy_(dequantize(blocks, scales, dtype).mT)
            getattr(packed, f"{name}_bias").copy_(getattr(dense, f"{name}_bias"))
    return packed, dense.requires_grad_(False)


def question(dtype=torch.float32, tokens=12, num_experts=EXPERTS):
    """Hidden states, and for each token some experts with their weights."""
    hidden = torch.randn(tokens, HIDDEN, dtype=dtype, requires_grad=True)
    chosen = torch.rand(tokens, num_experts).topk(CHOSEN).indices
    weights = torch.rand(tokens, CHOSEN, dtype=dtype).softmax(-1).requires_grad_()
    return hidden, chosen, weights


def answer(layer, hidden, chosen, weights):
    """What comes out, and the gradients of a weighted sum of it."""
    output = layer(hidden, chosen, weights)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    return output, *torch.autograd.grad((output * direction.to(output)).sum(), (hidden, weights))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_values_and_gradients_are_those_of_the_unpacked_layer(dtype, tolerance):
    packed, dense = layers(dtype)
    asked = question(dtype)
    for ours, theirs in zip(answer(packed, *asked), answer(dense, *asked), strict=True):
        assert (ours - theirs).norm() <= tolerance * theirs.norm()


def test_gradients_are_those_of_finite_differences():
    packed, _ = layers(torch.float64)
    hidden, chosen, weights = question(torch.float64, tokens=3)
    assert torch.autograd.gradcheck(lambda h, w: packed(h, chosen, w), (hidden, weights))


def test_in_bfloat16_it_is_no_farther_from_the_truth_than_the_unpacked_layer():
    packed, dense = layers()
    asked = question(tokens=200)
    truth = answer(dense, *asked)
    rounded = [part.to(torch.bfloat16) if part.is_floating_point() else part for part in asked]
    halves = answer(packed.to(torch.bfloat16), *rounded)
    theirs = answer(copy.deepcopy(dense).to(torch.bfloat16), *rounded)
    for true, ours, other in zip(truth, halves, theirs, strict=True):
        assert (ours - true).norm() <= 1.05 * (other - true).norm()


def test_under_autocast_it_computes_in_the_autocast_dtype():
    packed, _ = layers()
    hidden, chosen, weights = question()
    full = packed(hidden, chosen, weights)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = packed(hidden, chosen, weights)
    error = (rounded - full).norm() / full.norm()
    assert rounded.dtype == torch.float32 and 1e-4 < error < 0.02
    torch.autograd.grad(rounded.sum(), hidden)


def test_no_dense_matrix_is_kept_for_the_backward_pass():
    packed, _ = layers()
    asked = question()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        packed(*asked)
    dense = [t.shape for t in kept if t.is_floating_point() and t.numel() >= HIDDEN * INNER]
    storages = {p.untyped_storage().data_ptr() for p in packed.parameters()}
    packed_bytes = [t for t in kept if t.dtype == torch.uint8]
    assert not dense
    assert packed_bytes and all(t.untyped_storage().data_ptr() in storages for t in packed_bytes)


@pytest.mark.parametrize("together", [1, 2, 3])
def test_only_experts_that_were_chosen_are_unpacked_a_few_at_a_time(monkeypatch, together):
    packed, _ = layers()
    hidden, chosen, weights = question(tokens=3)
    expected = answer(packed, hidden, chosen, weights)
    monkeypatch.setattr(experts, "num_unpacked_at_once", lambda *_: together)
    for ours, theirs in zip(answer(packed, hidden, chosen, weights), expected, strict=True):
        assert torch.equal(ours, theirs)
    unpacked = []
    monkeypatch.setattr(
        experts,
        "dequantize",
        lambda b, s, dtype: unpacked.append(len(b)) or dequantize(b, s, dtype),
    )
    packed(hidden, torch.tensor([[0, 2], [2, 0], [0, 3]]), weights)
    of_a_stack = {1: [1, 1, 1], 2: [2, 1], 3: [3]}[together]  # three of four experts
    assert unpacked == of_a_stack * 2


def test_a_token_hears_its_own_experts_only():
    packed, _ = layers(torch.float64)
    hidden, _, weights = question(torch.float64, tokens=2)
    together = packed(hidden, torch.tensor([[3, 0], [1, 2]]), weights)
    alone = packed(hidden[1:], torch.tensor([[1, 2]]), weights[1:])
    torch.testing.assert_close(together[1:], alone)


def test_dense_layers_of_any_family_go_the_same_way():
    from transformers import AutoModelForCausalLM, Qwen3MoeConfig

    config = Qwen3MoeConfig(
        vocab_size=32, hidden_size=HIDDEN, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_experts=4, moe_intermediate_size=INNER, num_experts_per_tok=2,
    )  # fmt: skip
    config._experts_implementation = "eager"
    layer = AutoModelForCausalLM.from_config(config).model.layers[0].mlp.experts
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, std=0.2).requires_grad_(False)
    asked = question()
    theirs = answer(layer, *asked)
    ours = answer(lambda *a: experts_forward(layer, *a, {}), *asked)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).norm() <= 1e-5 * other.norm()


def test_a_small_update_is_not_lost_where_products_are_rounded():
    """What is added before rounding is there on the average; behind it most of it would be lost."""
    torch.manual_seed(0)
    rows, stack = torch.randn(512, 64).bfloat16(), torch.randn(2, 96, 64).bfloat16() / 8
    expert_of = torch.arange(512) // 256
    groups = _Groups.of(expert_of, 2)
    update = 1e-4 * torch.randn(512, 96)
    packed = quantize(stack.float())
    ways = {
        "dense": lambda added: _grouped(rows, stack, groups, added),
        "packed": lambda added: _multiply(rows, *packed, groups, added, transposed=True),
    }
    for way in ways.values():
        without = way(None)
        found, behind = way(update.bfloat16()), without + update.bfloat16()
        left, lost = (
            float(((y.double() - without.double()) * update).sum() / update.square().sum())
            for y in (found, behind)
        )
        assert left == pytest.approx(1, abs=0.15)
        assert lost < 0.7
