"""Merging: refused in 4 bits, or measured."""

import copy

import pytest
import torch

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import ConfigError
from distmatch.evals import merge_adapter
from distmatch.models.adapters import load_adapter
from distmatch.models.attaching import attach_lora
from distmatch.models.experts import PackedExperts
from distmatch.models.loading import load_model
from distmatch.models.lora import lora
from distmatch.models.quantizers import save_packed
from tests.tiny import tiny_model, tiny_tokenizer

TARGET = WordDistribution(("red", "blue"), (0.7, 0.3))
EXAMPLES = [Example(prompt=f"Pick a word, {number}:", target=TARGET) for number in range(6)]
IDS = torch.tensor([[5, 9, 40, 77, 3, 120, 64, 8]])


@pytest.fixture
def published(tmp_path):
    """A tiny gpt-oss as gpt-oss is published."""
    save_packed(tiny_model("gpt_oss", hidden_size=64), tmp_path / "packed")
    tiny_tokenizer().save_pretrained(tmp_path / "packed")
    return tmp_path / "packed"


def adapted(directory, quantization, target="all"):
    model, _ = load_model(str(directory), quantization=quantization, device="cpu")
    made = attach_lora(model, lora(target, rank=2))
    with torch.no_grad():
        for weight in made.parameters():
            if weight.requires_grad:
                weight.normal_(std=0.1)
    return made


@pytest.mark.parametrize("quantization", ["mxfp4", "mxfp4+nf4"])
@pytest.mark.parametrize("target", ["all", "attention"])
def test_peft_cannot_merge_into_4_bits_and_nothing_is_merged(published, quantization, target):
    model = adapted(published, quantization, target)
    before = copy.deepcopy(model.state_dict())
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(ConfigError, match=r"4 bits, which changes .*distmatch\.merge_adapter"):
            merge()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_loaded_adapter_is_not_merged_either(published, tmp_path):
    adapted(published, "mxfp4").save_pretrained(tmp_path / "adapter")
    model, _ = load_model(str(published), quantization="mxfp4", device="cpu")
    with pytest.raises(ConfigError, match="merging into mxfp4 weights"):
        load_adapter(model, tmp_path / "adapter").merge_and_unload()


@pytest.mark.parametrize("quantization", ["mxfp4", "mxfp4+nf4"])
def test_asked_for_it_is_done_and_measured(published, quantization):
    model = adapted(published, quantization)
    with torch.no_grad():
        beside = model(IDS).logits
        base = load_model(str(published), quantization=quantization, device="cpu")[0](IDS).logits
    merged = merge_adapter(model, tiny_tokenizer(), EXAMPLES, progress=False)
    assert isinstance(merged.model.model.layers[0].mlp.experts, PackedExperts)
    with torch.no_grad():
        after = merged.model(IDS).logits
    # Nearer to what the adapter made of the base than to the base, but not the same
    assert 0 < (after - beside).norm() < 0.8 * (after - base).norm()
    before_probs = torch.from_numpy(merged.before.examples.probs)
    after_probs = torch.from_numpy(merged.after.examples.probs)
    divergence = torch.nn.functional.kl_div(after_probs.log(), before_probs, reduction="batchmean")
    assert merged.divergence == pytest.approx(divergence.item(), rel=1e-5) and divergence > 0
    assert f"merging changed the answers by {merged.divergence:.2g} nats" in str(merged)


def test_into_full_precision_it_costs_nothing_and_peft_may():
    model = attach_lora(tiny_model("llama"), lora("all", rank=2))
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    merged = merge_adapter(model, tiny_tokenizer(), EXAMPLES, progress=False)
    assert abs(merged.divergence) < 1e-6


def test_a_merged_packed_model_can_be_saved_and_read(published, tmp_path):
    merged = merge_adapter(adapted(published, "mxfp4"), tiny_tokenizer(), EXAMPLES, progress=False)
    save_packed(merged.model, tmp_path / "merged")
    tiny_tokenizer().save_pretrained(tmp_path / "merged")
    again, _ = load_model(str(tmp_path / "merged"), quantization="mxfp4", device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(
            again(IDS).logits, merged.model(IDS).logits, rtol=1e-5, atol=1e-5
        )
