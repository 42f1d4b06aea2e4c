"""LoRA's short way: PEFT's numbers, and PEFT's way wherever it isn't the same."""

import copy
from weakref import ref

import peft
import pytest
import torch
from peft.tuners.lora import layer
from torch import nn

from distmatch.models.adapters import load_adapter
from distmatch.models.attaching import attach_lora
from distmatch.models.fused_lora import FusedLinear, _AdaptedProduct, _rows, fuse_lora
from distmatch.models.lora import lora
from tests.tiny import tiny_model

IDS = torch.randint(3, 290, (2, 20), generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    def __init__(self, bias=True, dtype=torch.float64):
        super().__init__()
        self.linear = nn.Linear(24, 18, bias=bias, dtype=dtype)

    def forward(self, x):
        return self.linear(x)


def adapted(bias=True, dtype=torch.float64, **config):
    """A layer of PEFT's with random numbers in both factors."""
    torch.manual_seed(0)
    given = {"r": 4, "lora_alpha": 6, "target_modules": ["linear"]} | config
    model = peft.get_peft_model(
        Plain(bias, dtype), peft.LoraConfig(**given), autocast_adapter_dtype=False
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_()
    return model.eval()


def fused(model):
    ours = copy.deepcopy(model)
    fuse_lora(ours)
    assert type(ours.base_model.model.linear) is FusedLinear
    return ours


def outcome(model, x, precision=None):
    """Output, and gradients of x and both factors."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", precision, enabled=precision is not None):
        y = model(x)
    y.double().pow(3).sum().backward()
    gradients = [w.grad for n, w in model.named_parameters() if "lora_" in n and w.requires_grad]
    return [y.detach(), x.grad, *gradients]


@pytest.fixture
def short_ways(monkeypatch):
    """How often the short way was taken."""
    taken = []
    apply = _AdaptedProduct.apply
    monkeypatch.setattr(
        _AdaptedProduct, "apply", lambda *given: taken.append(1) or apply(*given), raising=True
    )
    return taken


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(24,), (5, 24), (2, 3, 24)])
def test_in_float64_values_and_gradients_are_those_of_peft(bias, shape, short_ways):
    model = adapted(bias)
    x = torch.randn(shape, dtype=torch.float64)
    ours, theirs = outcome(fused(model), x), outcome(model, x)
    assert short_ways == [1]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_finite_differences(short_ways):
    model = fused(adapted())
    parts = model.base_model.model.linear
    x = torch.randn(3, 24, dtype=torch.float64, requires_grad=True)

    def product(x, a, b):
        return torch.func.functional_call(
            parts, {"lora_A.default.weight": a, "lora_B.default.weight": b}, (x,)
        )

    factors = (parts.lora_A["default"].weight, parts.lora_B["default"].weight)
    assert torch.autograd.gradcheck(product, (x, *factors))
    assert short_ways


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_in_mixed_precision_it_is_no_further_from_float64_than_peft(precision, short_ways):
    model = adapted(dtype=torch.float32)
    x = torch.randn(64, 24)
    true = outcome(copy.deepcopy(model).double(), x.double())

    def error(found):
        pairs = zip(found, true, strict=True)
        return [float((part.double() - exact).norm() / exact.norm()) for part, exact in pairs]

    theirs = error(outcome(model, x, precision))
    ours = error(outcome(fused(model), x, precision))
    assert short_ways == [1]
    print(ours, theirs)
    assert all(mine <= 1.1 * other for mine, other in zip(ours, theirs, strict=True))


def switched_off(model):
    model.base_model.disable_adapter_layers()


def merged(model):
    model.merge_adapter()


def twice(model):
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["linear"]))
    model.base_model.set_adapter(["default", "second"])


def dropping(model):
    model.train()


def watched(model):
    model.base_model.model.linear.base_layer.register_forward_hook(lambda *_: None)


def learning(model):
    model.base_model.model.linear.base_layer.weight.requires_grad = True


def as_it_is(model):
    pass


def in_16_bits(model):
    model.base_model.model.linear.base_layer.to(torch.bfloat16)


@pytest.mark.parametrize(
    ("config", "change"),
    [
        ({}, switched_off),
        ({}, merged),
        ({}, twice),
        ({"lora_dropout": 0.5}, dropping),
        ({"use_dora": True}, as_it_is),
        ({"lora_bias": True}, as_it_is),
        ({}, watched),
        ({}, learning),
    ],
    ids=lambda given: getattr(given, "__name__", None) or ", ".join(given) or "plain",
)
def test_what_is_not_plain_goes_through_peft(config, change, short_ways):
    model = adapted(**config)
    ours = fused(model)
    for one in (model, ours):
        torch.manual_seed(1)  # of a second adapter
        change(one)
    x = torch.randn(3, 24, dtype=torch.float64)
    found = []
    for one in (model, ours):
        torch.manual_seed(2)  # of dropout
        found.append(one(x))
    assert torch.equal(*found)
    assert not short_ways


def test_a_base_in_16_bits_is_summed_as_by_peft(short_ways):
    model = adapted(dtype=torch.float32)
    ours = fused(model)
    in_16_bits(model)
    in_16_bits(ours)
    x = torch.randn(3, 24, dtype=torch.bfloat16)
    assert torch.equal(ours(x), model(x))
    assert not short_ways


def test_dropout_that_drops_nothing_is_no_hindrance(short_ways):
    model = fused(adapted(lora_dropout=0.5))  # in evaluation mode
    model(torch.randn(3, 24, dtype=torch.float64))
    assert short_ways


def test_frozen_below_gradients_stop(short_ways):
    model = fused(adapted())
    model(torch.randn(3, 24, dtype=torch.float64)).sum().backward()
    assert short_ways
    grads = [w.grad for w in model.parameters() if w.requires_grad]
    assert len(grads) == 2 and all(grad is not None for grad in grads)


def test_adapters_attached_and_loaded_take_it_and_are_stock_files(tmp_path, short_ways):
    model = attach_lora(tiny_model("llama"), lora("all", rank=2), seed=0)
    layers = [m for m in model.modules() if isinstance(m, layer.Linear)]
    assert {type(m) for m in layers} == {FusedLinear}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    model.save_pretrained(tmp_path)
    stock = peft.PeftModel.from_pretrained(tiny_model("llama"), str(tmp_path))
    assert not short_ways
    wanted = stock(IDS).logits
    assert not short_ways
    again = load_adapter(tiny_model("llama"), tmp_path)
    torch.testing.assert_close(again(IDS).logits, wanted, rtol=1e-5, atol=1e-6)
    assert len(short_ways) == len(layers)
    whole = again.merge_and_unload()
    assert not any(isinstance(m, layer.LoraLayer) for m in whole.modules())
    torch.testing.assert_close(whole(IDS).logits, wanted, rtol=1e-4, atol=1e-5)


def test_an_input_of_several_layers_is_cast_once_as_long_as_one_of_them_keeps_it():
    x = torch.randn(3, 8)
    rows = _rows(x, torch.bfloat16)
    assert _rows(x, torch.bfloat16) is rows and torch.equal(rows, x.bfloat16())
    assert _rows(x, torch.float16).dtype == torch.float16
    rows = _rows(x, torch.bfloat16)
    x.mul_(2)
    assert torch.equal(_rows(x, torch.bfloat16), x.bfloat16())
    assert torch.equal(_rows(x.clone(), torch.bfloat16), x.bfloat16())
    kept = ref(_rows(x, torch.bfloat16))
    assert kept() is None  # nobody needs it


def test_it_runs_in_inference_mode():
    model, x = adapted(dtype=torch.float32), torch.randn(5, 24)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        ours, theirs = fused(model)(x.clone()), model(x.clone())
    torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("precision", "size"), [(torch.bfloat16, 1e-5), (torch.float16, 1e-6)])
def test_a_small_update_is_not_lost_where_products_are_rounded(precision, size):
    """Of updates much smaller than a step of the precision, how much is left on the average."""
    model = adapted(bias=True, dtype=torch.float32)
    x = torch.randn(4096, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.mul_(size)
        update = (model(x) - model.base_model.model.linear.base_layer(x)).double()

    def left(of):
        with torch.no_grad(), torch.autocast("cpu", precision):
            with of.disable_adapter():
                without = of(x)
            found = (of(x).double() - without.double()) * update
        return float(found.sum() / update.square().sum())

    ours, pefts = fused(model), model
    assert left(ours) == pytest.approx(1, abs=0.15)
    assert left(pefts) < 0.7
