"""Saved adapters: what is put onto a model, what is refused and in which words."""

import json
import os
import pickle
import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, Qwen3MoeConfig

from distmatch.errors import LoadError
from distmatch.models.adapters import load_adapter
from distmatch.models.attaching import attach_lora
from distmatch.models.base_record import check_base_config, write_base_record
from distmatch.models.footprint import empty_model
from distmatch.models.loading import load_model
from distmatch.models.lora import lora
from distmatch.models.quantizers import save_packed
from tests.models.test_loading import Bomb, logits, saved, truncate
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture
def checkpoint(tmp_path):
    """A directory with a tiny Llama in bfloat16."""
    saved(tmp_path / "model", dtype=torch.bfloat16)
    return tmp_path / "model"


def adapter(directory, **settings):
    """A directory with an adapter of the tiny Llama, and the logits it gives."""
    config = LoraConfig(r=2, task_type="CAUSAL_LM", **{"target_modules": ["q_proj"]} | settings)
    model = get_peft_model(tiny_model("llama"), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    model.save_pretrained(directory)
    return logits(model.eval())


@pytest.mark.parametrize(
    "settings", [{}, {"target_modules": "all-linear", "modules_to_save": ["lm_head"]}]
)
def test_an_adapter_gives_the_logits_it_was_saved_with(tmp_path, settings):
    wanted = adapter(tmp_path, **settings)
    adapted = load_adapter(tiny_model("llama"), tmp_path)
    torch.testing.assert_close(logits(adapted), wanted, rtol=0, atol=0)
    assert not adapted.training
    assert not any(weight.requires_grad for weight in adapted.parameters())


def test_an_adapter_fits_onto_a_packed_model(checkpoint, tmp_path):
    adapter(tmp_path / "adapter")
    model, _ = load_model(str(checkpoint), quantization="nf4", device="cpu")
    before = logits(model)
    assert not torch.equal(logits(load_adapter(model, tmp_path / "adapter")), before)


@pytest.mark.parametrize("filename", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("damage", [truncate, os.remove])
def test_a_damaged_adapter_is_named_and_the_model_left_alone(tmp_path, filename, damage):
    adapter(tmp_path)
    damage(tmp_path / filename)
    model = tiny_model("llama")
    before = dict(model.named_modules())
    with pytest.raises(LoadError, match=filename):
        load_adapter(model, str(tmp_path))
    assert dict(model.named_modules()) == before


def test_a_pickled_adapter_is_not_read(tmp_path):
    adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    (tmp_path / "adapter_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(LoadError, match="is a pickle, which is not read"):
        load_adapter(tiny_model("llama"), tmp_path)


def test_an_adapter_that_lacks_a_weight_is_refused(tmp_path):
    adapter(tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    dropped = sorted(weights)[0]
    del weights[dropped]
    save_file(weights, tmp_path / "adapter_model.safetensors")
    with pytest.raises(LoadError, match=r"layers\.0\.self_attn\.q_proj\.lora_A.* only in one"):
        load_adapter(tiny_model("llama"), tmp_path)


def test_an_adapter_with_a_weight_too_many_is_refused(tmp_path):
    adapter(tmp_path, target_modules=["q_proj", "v_proj"])
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["target_modules"] = ["q_proj"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(LoadError, match=r"v_proj.* and 5 more stand only in one of the two"):
        load_adapter(tiny_model("llama"), tmp_path)


@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_an_adapter_of_another_model_is_refused(tmp_path, family):
    adapter(tmp_path)
    other = tiny_model(family, **({"hidden_size": 32} if family == "qwen3" else {}))
    with pytest.raises(LoadError, match="doesn't fit this model"):
        load_adapter(other, tmp_path)


def test_an_adapters_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LoadError, match="nowhere is not a directory"):
        load_adapter(tiny_model("llama"), tmp_path / "nowhere")


def recorded(directory, model):
    """An adapter with its base on record, as the trainer leaves it."""
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.save_pretrained(directory)
    write_base_record(adapted, directory)


def test_an_adapter_fits_the_base_on_record_in_any_dtype(tmp_path):
    recorded(tmp_path, tiny_model("llama", dtype=torch.bfloat16))
    for dtype in (torch.float32, torch.bfloat16):
        model = tiny_model("llama", dtype=torch.bfloat16).to(dtype)
        load_adapter(model, tmp_path)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (lambda: tiny_model("llama", seed=1), "other weights"),
        (
            lambda: tiny_model("llama", rms_norm_eps=1e-3),
            r"rms_norm_eps 1e-06, here 0\.001\. Load that base",
        ),
        (lambda: tiny_model("mistral"), "model_type llama, here mistral"),
    ],
)
def test_another_base_than_on_record_is_refused_unless_asked_for(tmp_path, other, difference):
    recorded(tmp_path, tiny_model("llama"))
    with pytest.raises(LoadError, match=f"trained on another base.*{difference}"):
        load_adapter(other(), tmp_path)
    load_adapter(other(), tmp_path, other_base=True)


def test_a_config_alone_tells_another_base_before_weights_are_read(tmp_path):
    recorded(tmp_path, tiny_model("llama"))
    check_base_config(tiny_model("llama", seed=1).config, tmp_path)
    with pytest.raises(LoadError, match=r"another base.*rms_norm_eps 1e-06, here 0\.001"):
        check_base_config(tiny_model("llama", rms_norm_eps=1e-3).config, tmp_path)
    (tmp_path / "base.json").write_text('{"config": {}}')
    with pytest.raises(LoadError, match=r"base\.json can't be read .*copy it again"):
        check_base_config(tiny_model("llama").config, tmp_path)


def test_the_text_of_a_composite_model_is_the_base_of_its_adapter(tmp_path):
    """Its checkpoint's config holds another for images, which the base on record doesn't."""
    text = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    config = AutoConfig.for_model("qwen3_5", text_config=text | heads)
    write_base_record(AutoModelForCausalLM.from_config(config), tmp_path)
    check_base_config(empty_model(config, None, torch.float32).config, tmp_path)
    with pytest.raises(LoadError, match="another base"):
        check_base_config(config, tmp_path)


@pytest.mark.parametrize("settings", [{"modules_to_save": ["embed_tokens"]}, {"bias": "all"}])
def test_what_an_adapter_trains_beside_its_loras_is_no_base(tmp_path, settings):
    model = tiny_model("llama")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], **settings))
    with torch.no_grad():
        for weight in adapted.parameters():
            weight.add_(0.1 * weight.requires_grad)
    adapted.save_pretrained(tmp_path)
    write_base_record(adapted, tmp_path)
    load_adapter(tiny_model("llama"), tmp_path)


def test_a_model_with_an_adapter_merged_into_it_is_another_base(tmp_path):
    adapted = get_peft_model(tiny_model("llama"), LoraConfig(r=2, target_modules=["q_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    recorded(tmp_path, adapted.merge_and_unload())
    with pytest.raises(LoadError, match=r"trained on another base.*other weights"):
        load_adapter(tiny_model("llama"), tmp_path)


def test_the_same_base_in_four_bits_is_another(checkpoint, tmp_path):
    recorded(tmp_path / "adapter", load_model(str(checkpoint), device="cpu")[0])
    packed, _ = load_model(str(checkpoint), quantization="nf4", device="cpu")
    with pytest.raises(LoadError, match=r"base.*: quantization None, here nf4\. Load that"):
        load_adapter(packed, tmp_path / "adapter")


def test_packed_and_unpacked_experts_differ_in_nothing_else(tmp_path):
    save_packed(tiny_model("gpt_oss", hidden_size=64), tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    recorded(
        tmp_path / "adapter",
        load_model(str(tmp_path / "model"), quantization="mxfp4", device="cpu")[0],
    )
    dense, _ = load_model(str(tmp_path / "model"), device="cpu")
    with pytest.raises(LoadError, match=r"base.*: quantization mxfp4, here None\. Load that"):
        load_adapter(dense, tmp_path / "adapter")


def test_an_unreadable_record_is_named(tmp_path):
    recorded(tmp_path, tiny_model("llama"))
    truncate(tmp_path / "base.json")
    with pytest.raises(LoadError, match=r"base\.json can't be read"):
        load_adapter(tiny_model("llama"), tmp_path)


def mixture():
    """A family whose routers and experts were linear layers in transformers 4."""
    config = Qwen3MoeConfig(
        vocab_size=320, hidden_size=48, num_hidden_layers=2, num_attention_heads=2, head_dim=16,
        num_key_value_heads=2, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def test_an_adapter_of_transformers_4_finds_what_its_routers_have_become(tmp_path):
    config = LoraConfig(target_modules=["q_proj"], target_parameters=["mlp.gate.weight"])
    stock = get_peft_model(mixture(), config).eval()
    for name, weight in stock.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.1)
    stock.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    written |= {"target_modules": ["q_proj", "gate"], "target_parameters": None}
    (tmp_path / "adapter_config.json").write_text(json.dumps(written))
    ids = torch.tensor([[5, 9, 40, 77]])
    loaded = load_adapter(mixture(), tmp_path)
    torch.testing.assert_close(loaded(ids).logits, stock(ids).logits, rtol=1e-5, atol=1e-5)


def test_nothing_is_warned_of_where_nobody_can_do_anything_about_it(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapted = attach_lora(tiny_model("llama"), lora("q", rank=2))
        adapted.save_pretrained(tmp_path)
        load_adapter(tiny_model("llama"), tmp_path)
