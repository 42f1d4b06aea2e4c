"""LoRA on experts: PEFT's numbers and PEFT's files, without PEFT's dense update."""

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Qwen3MoeConfig

from distmatch.models.adapters import load_adapter
from distmatch.models.attaching import attach_lora
from distmatch.models.expert_lora import factored_experts
from distmatch.models.experts import is_experts_layer
from distmatch.models.loading import load_model
from distmatch.models.lora import lora, target_table
from distmatch.models.quantizers import save_packed
from tests.tiny import tiny_model, tiny_tokenizer

IDS = torch.randint(3, 290, (2, 20), generator=torch.Generator().manual_seed(0))
TARGET = lora("attention + router@0 + experts@1-2", rank=4)
# Multiples of 32, as MXFP4 needs
SHAPE = {"hidden_size": 64, "intermediate_size": 96, "experts_implementation": "eager"}


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny gpt-oss as gpt-oss is published."""
    save_packed(tiny_model("gpt_oss", **SHAPE), tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def load(checkpoint, quantization=None):
    return load_model(checkpoint, quantization=quantization, device="cpu")[0]


def qwen3_moe():
    """A family whose stacks lie the other way round, gate and up one after the other."""
    config = Qwen3MoeConfig(
        vocab_size=320, hidden_size=48, num_hidden_layers=3, num_attention_heads=2, head_dim=16,
        num_key_value_heads=2, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, experts_implementation="eager").eval()


def filled(adapted):
    """The adapter with other numbers than its first ones, which change nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return adapted.eval()


def outcome(adapted):
    """A loss, and its gradients by name."""
    for weight in adapted.parameters():
        weight.grad = None
    loss = adapted(IDS).logits.log_softmax(-1)[..., 7].sum()
    loss.backward()
    named = adapted.named_parameters()
    return loss.item(), {name: weight.grad for name, weight in named if weight.requires_grad}


def stock(model, config):
    """PEFT's own adapter of a config, without anything of ours."""
    return peft.get_peft_model(model, peft.LoraConfig(**config.to_dict()))


def assert_same(ours, theirs, tolerance=3e-5):
    assert ours[0] == pytest.approx(theirs[0], rel=tolerance)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        assert (ours[1][name] - gradient).norm() <= tolerance * gradient.norm(), name


@pytest.mark.parametrize("family", [lambda: tiny_model("gpt_oss", **SHAPE), qwen3_moe])
def test_dense_experts_learn_as_with_peft(family):
    ours = filled(attach_lora(family(), TARGET))
    theirs = filled(stock(family(), ours.peft_config["default"]))
    assert_same(outcome(ours), outcome(theirs))


def test_packed_experts_learn_as_the_unpacked_model_with_peft(checkpoint):
    packed = load(checkpoint, "mxfp4")
    dense = load(checkpoint)
    ours = filled(attach_lora(packed, TARGET))
    theirs = filled(stock(dense, ours.peft_config["default"]))
    assert_same(outcome(ours), outcome(theirs))


def test_an_adapter_of_a_packed_model_is_a_stock_one(checkpoint, tmp_path):
    packed = load(checkpoint, "mxfp4")
    ours = filled(attach_lora(packed, TARGET))
    ours.save_pretrained(tmp_path / "adapter")
    dense = load(checkpoint)
    theirs = peft.PeftModel.from_pretrained(dense, tmp_path / "adapter")
    torch.testing.assert_close(ours(IDS).logits, theirs(IDS).logits, rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("quantization", [None, "mxfp4"])
def test_a_stock_adapter_is_one_of_ours(checkpoint, tmp_path, quantization):
    dense = load(checkpoint)
    config = attach_lora(load(checkpoint), TARGET).peft_config["default"]
    theirs = filled(stock(dense, config))
    theirs.save_pretrained(tmp_path / "adapter")
    ours = load_adapter(load(checkpoint, quantization), tmp_path / "adapter")
    torch.testing.assert_close(ours(IDS).logits, theirs(IDS).logits, rtol=3e-5, atol=3e-5)


def test_the_file_has_pefts_names_and_the_loras_alone(checkpoint, tmp_path):
    packed = load(checkpoint, "mxfp4")
    attach_lora(packed, lora("experts@1", rank=4)).save_pretrained(tmp_path)
    prefix = "base_model.model.model.layers.1.mlp.experts"
    written = load_file(tmp_path / "adapter_model.safetensors")
    assert {name: tuple(weight.shape) for name, weight in written.items()} == {
        f"{prefix}.base_layer.lora_A.weight": (4 * 4, 64),  # gate_up_proj
        f"{prefix}.base_layer.lora_B.weight": (2 * 96, 4 * 4),
        f"{prefix}.lora_A.weight": (4 * 4, 96),  # down_proj
        f"{prefix}.lora_B.weight": (64, 4 * 4),
    }


def test_switched_off_the_base_is_back_to_the_bit(checkpoint):
    packed = load(checkpoint, "mxfp4")
    before = packed(IDS).logits
    adapted = filled(attach_lora(packed, TARGET))
    assert not torch.equal(adapted(IDS).logits, before)
    with adapted.disable_adapter():
        assert torch.equal(adapted(IDS).logits, before)


def test_attached_it_is_no_change_and_the_base_keeps_its_parameters(checkpoint):
    packed = load(checkpoint, "mxfp4")
    before, names = packed(IDS).logits, {name for name, _ in packed.named_parameters()}
    adapted = attach_lora(packed, lora("experts"))
    assert torch.equal(adapted(IDS).logits, before)
    base = {name.replace(".base_layer", "") for name, _ in packed.named_parameters()}
    assert {name for name in base if "lora_" not in name} == names


@pytest.mark.parametrize("quantization", [None, "mxfp4"])
def test_no_tensor_as_large_as_a_stack_is_made(checkpoint, quantization):
    model = load(checkpoint, quantization)
    adapted = filled(attach_lora(model, lora("experts", rank=2)))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        adapted(IDS[:1, :5])
    weights = {weight.untyped_storage().data_ptr() for weight in adapted.parameters()}
    made = [t.numel() for t in kept if t.untyped_storage().data_ptr() not in weights]
    assert max(made) < 64 * 96  # one expert's down projection


def test_merging_into_dense_experts_gives_the_same_answers():
    adapted = filled(attach_lora(tiny_model("gpt_oss", **SHAPE), TARGET))
    before = adapted(IDS).logits
    torch.testing.assert_close(adapted.merge_and_unload()(IDS).logits, before, rtol=1e-4, atol=1e-4)


def test_the_table_counts_packed_weights_as_the_numbers_they_are(checkpoint):
    counts = [
        target_table(TARGET, load(checkpoint, kind)).rpartition(" ")[2] for kind in (None, "mxfp4")
    ]
    assert counts[0] == counts[1]


def test_rows_of_a_batch_cant_choose_their_adapters(checkpoint):
    adapted = attach_lora(load(checkpoint, "mxfp4"), lora("experts"))
    with pytest.raises(ValueError, match="mixed adapter batches"):
        adapted(IDS, adapter_names=["default", "__base__"])


def test_a_second_adapter_can_be_added_and_chosen(checkpoint):
    packed = load(checkpoint, "mxfp4")
    adapted = filled(attach_lora(packed, lora("experts@1", rank=4)))
    first = adapted(IDS).logits
    config = adapted.peft_config["default"]
    with factored_experts(adapted, config):
        adapted.add_adapter("second", config)
    adapted.set_adapter("second")
    assert not torch.equal(adapted(IDS).logits, first)
    adapted.set_adapter("default")
    assert torch.equal(adapted(IDS).logits, first)


@pytest.mark.filterwarnings("ignore:.*_pattern keys did not match:RuntimeWarning")
def test_targets_of_pefts_own_kind_are_still_rewritten_by_it():
    config = peft.LoraConfig(target_modules=["gate_proj", "up_proj"], r=2)
    with factored_experts(model := tiny_model("deepseek_v2"), config):
        adapted = peft.get_peft_model(model, config)
    learning = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert any("mlp.experts" in name for name in learning)


def test_experts_that_do_more_are_left_to_their_own_forward():
    dense = tiny_model("deepseek_v2").model.layers[1].mlp.experts
    assert is_experts_layer(dense)
    dense.post_expert_norm = torch.nn.RMSNorm(48)
    assert not is_experts_layer(dense)
