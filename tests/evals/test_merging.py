"""Merging: refused in 4 bits, or measured."""

import copy

import pytest
import torch

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import ConfigError
from distmatch.evals import merge_and_measure
from distmatch.models.adapters import load_adapter
from distmatch.models.attaching import attach_lora
from distmatch.models.experts import PackedExperts
from distmatch.models.loading import load_model
from distmatch.models.lora import lora
from distmatch.models.merge_guard import merging_allowed
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
        with pytest.raises(ConfigError, match=r"4 bits, which changes .*merge_and_measure"):
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
    merged = merge_and_measure(model, tiny_tokenizer(), EXAMPLES, progress=False)
    assert isinstance(merged.model.model.layers[0].mlp.experts, PackedExperts)
    with torch.no_grad():
        after = merged.model(IDS).logits
    # Nearer to what the adapter made of the base than to the base, but not the same
    assert 0 < (after - beside).norm() < 0.8 * (after - base).norm()
    before_probs = torch.from_numpy(merged.before.answers.probs)
    after_probs = torch.from_numpy(merged.after.answers.probs)
    divergence = torch.nn.functional.kl_div(after_probs.log(), before_probs, reduction="batchmean")
    assert merged.divergence == pytest.approx(divergence.item(), rel=1e-5) and divergence > 0
    assert f"merging changed the answers by {merged.divergence:.2g} nats" in str(merged)


def small():
    model = attach_lora(tiny_model("llama"), lora("all", rank=2))
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def test_into_full_precision_it_costs_nothing():
    merged = merge_and_measure(small(), tiny_tokenizer(), EXAMPLES, progress=False)
    assert 0 <= merged.divergence < 1e-6


def test_into_full_precision_peft_merges_as_ever():
    model = small()
    with torch.no_grad():
        expected = model(IDS).logits
        merged = model.merge_and_unload()(IDS).logits
        torch.testing.assert_close(merged, expected, rtol=1e-4, atol=1e-4)


def test_what_was_merged_into_packed_experts_stays(published):
    model = adapted(published, "mxfp4")
    with merging_allowed(model):
        model.merge_adapter()
    with pytest.raises(ConfigError, match="can't be undone: load the model again"):
        model.unmerge_adapter()


def test_broken_adapters_are_not_merged_safely(published):
    model = adapted(published, "mxfp4", "experts@3")
    next(weight for weight in model.parameters() if weight.requires_grad).data[0] = torch.nan
    with merging_allowed(model), pytest.raises(ValueError, match="aren't finite"):
        model.merge_and_unload(safe_merge=True)


def test_a_checkpoint_with_nf4_in_it_is_not_written(published, tmp_path):
    model, _ = load_model(str(published), quantization="mxfp4+nf4", device="cpu")
    with pytest.raises(ConfigError, match="in NF4 don't belong"):
        save_packed(model, tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_a_merged_packed_model_can_be_saved_and_read(published, tmp_path):
    model = adapted(published, "mxfp4")
    merged = merge_and_measure(model, tiny_tokenizer(), EXAMPLES, progress=False)
    with pytest.raises(ConfigError, match="holds a checkpoint already: choose another directory"):
        save_packed(merged.model, published)
    save_packed(merged.model, tmp_path / "merged")
    tiny_tokenizer().save_pretrained(tmp_path / "merged")
    again, _ = load_model(str(tmp_path / "merged"), quantization="mxfp4", device="cpu")
    with torch.no_grad():
        expected = merged.model(IDS).logits
        torch.testing.assert_close(again(IDS).logits, expected, rtol=1e-5, atol=1e-5)
