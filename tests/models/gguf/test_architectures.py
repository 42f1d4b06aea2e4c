"""A random model of each architecture, written as llama.cpp writes it, is the same one read."""

import itertools

import numpy as np
import pytest
import torch
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from transformers import AutoModelForCausalLM, Phi3Config

from distmatch.errors import LoadError
from distmatch.models.loading import load_config, load_model
from tests.models.gguf.writing import (
    F32,
    bpe_metadata,
    model_metadata,
    model_tensors,
    write_gguf,
    write_model_gguf,
)
from tests.tiny import VOCAB_SIZE, tiny_model, tiny_tokenizer

IDS = torch.arange(3, 3 + 24).reshape(1, -1) * 7 % 300
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DISTMATCH_CACHE", str(tmp_path / "cache"))


def tiny_phi3(**more):
    config = Phi3Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        eos_token_id=2,
        bos_token_id=0,
        **more,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for weight in model.parameters():
        weight.data.add_(torch.randn_like(weight) * 0.2)
    return model.eval()


LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "attention_factor": 1.25,
    "partial_rotary_factor": 0.5,
}
MODELS = {
    "llama": lambda: tiny_model("llama"),
    "llama, equal heads": lambda: tiny_model("llama2"),
    "llama, biases": lambda: tiny_model("llama", attention_bias=True),
    "llama 3, as published": lambda: tiny_model("llama", rope_parameters=LLAMA3, head_dim=32),
    "llama, linear": lambda: tiny_model("deepseek_coder"),
    "mistral": lambda: tiny_model("mistral", sliding_window=None),
    "mistral, window": lambda: tiny_model("mistral"),
    "qwen2": lambda: tiny_model("qwen2"),
    "qwen2, tied": lambda: tiny_model("qwen2", tie_word_embeddings=True),
    "qwen2, yarn": lambda: tiny_model("qwen2", rope_parameters=YARN),
    "qwen3": lambda: tiny_model("qwen3"),
    "gemma": lambda: tiny_model("gemma"),
    "gemma2": lambda: tiny_model("gemma2"),
    "gemma3": lambda: tiny_model("gemma3", layer_types=None, num_hidden_layers=7),
    "gpt2": lambda: tiny_model("gpt2"),
    "gpt2, usual widths": lambda: tiny_model("gpt2", n_inner=192, n_positions=1024),
    "gpt_oss, dense": lambda: tiny_model("gpt_oss"),
    "phi3": tiny_phi3,
    "phi3, longrope": lambda: tiny_phi3(
        rope_parameters=LONG, original_max_position_embeddings=16, sliding_window=12
    ),
}


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize("name", MODELS)
def test_what_is_read_says_what_was_written(name, tmp_path):
    written = MODELS[name]()
    path = write_model_gguf(tmp_path / "tiny.gguf", written)
    read, tokenizer = load_model(str(path), device="cpu")
    if name != "mistral":  # which is a Llama where it has no windows
        assert type(read) is type(written)
    assert torch.equal(logits(read), logits(written))
    assert tokenizer("red fox").input_ids == tiny_tokenizer()("red fox").input_ids
    assert np.atleast_1d(read.generation_config.eos_token_id)[0] == 2


@pytest.mark.parametrize("name", MODELS)
def test_blocks_of_4_and_8_bit_are_laid_out_as_numbers_are(name, tmp_path):
    model = MODELS[name]()
    packed = write_model_gguf(tmp_path / "packed.gguf", model, change=in_blocks)
    plain = write_model_gguf(tmp_path / "plain.gguf", model, change=lambda t: numbers(in_blocks(t)))
    ours, theirs = (load_model(str(path))[0].state_dict() for path in (packed, plain))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def in_blocks(tensors):
    """Matrices whose rows are whole blocks in Q8_0 and Q4_0, in turn."""
    kinds = itertools.cycle((GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0))
    return {
        stored: (quantize(values, packed), packed)
        if values.ndim == 2 and values.shape[1] % 32 == 0 and (packed := next(kinds))
        else (values, kind)
        for stored, (values, kind) in tensors.items()
    }


def numbers(tensors):
    """What blocks hold, as the package reads it."""
    return {
        stored: (dequantize(values, kind).astype(np.float32), F32)
        for stored, (values, kind) in tensors.items()
    }


def test_divisors_of_no_published_llama_are_taken_as_they_are(tmp_path):
    written = tiny_model("llama3")
    path = write_model_gguf(tmp_path / "tiny.gguf", written)
    read, _ = load_model(str(path), device="cpu")
    assert read.config.rope_parameters["rope_type"] == "longrope"
    torch.testing.assert_close(logits(read), logits(written), rtol=0, atol=1e-4)


# transformers leaves out Qwen 3's size of heads, GPT-2's widths, Gemma's scale of queries and Gemma
# 2's soft-caps, and ends with a TypeError where gpt-oss's metadata have YaRN
@pytest.mark.parametrize(
    "name",
    ["llama", "mistral", "qwen2", "qwen2, tied", "gpt2, usual widths", "phi3", "gemma2", "gemma3"],
)
def test_what_is_read_is_what_transformers_reads(name, tmp_path):
    path = write_model_gguf(tmp_path / "tiny.gguf", MODELS[name]())
    read, _ = load_model(str(path), device="cpu")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    ours = dict(read.named_parameters())
    for key, weight in theirs.named_parameters():
        assert torch.equal(weight, ours[key]), key
    if not name.startswith("gemma"):
        assert torch.equal(logits(read), logits(theirs))


def test_in_bfloat16_weights_are_rounded_once(tmp_path):
    written = tiny_model("llama")
    path = write_model_gguf(tmp_path / "tiny.gguf", written)
    read, _ = load_model(str(path), dtype="bfloat16", device="cpu")
    assert read.dtype == torch.bfloat16
    for key, weight in written.named_parameters():
        assert torch.equal(read.get_parameter(key), weight.to(torch.bfloat16)), key


@pytest.mark.parametrize(("blocks", "family", "scale"), [(46, "gemma2", 12), (62, "gemma3", 12)])
def test_the_largest_gemmas_scale_by_width_over_heads(blocks, family, scale, tmp_path):
    written = tiny_model(family, num_hidden_layers=1, layer_types=None)
    tensors = model_tensors(written)
    copied = {
        name.replace("blk.0.", f"blk.{block}."): tensor
        for name, tensor in tensors.items()
        for block in range(blocks)
    }
    told = {f"{family}.{key}": value for key, value in model_metadata(written).items()}
    told |= {f"{family}.block_count": blocks} | bpe_metadata(tiny_tokenizer(), VOCAB_SIZE)
    path = write_gguf(tmp_path / "tiny.gguf", family, told, copied)
    assert load_config(str(path)).query_pre_attn_scalar == scale


def test_gemma_3_may_say_which_blocks_slide_and_scale_its_far_sight(tmp_path):
    written = tiny_model("gemma3")
    path = write_model_gguf(
        tmp_path / "tiny.gguf",
        written,
        gemma3__attention__sliding_window_pattern=[True, False, True, False],
        gemma3__rope__scaling__type="linear",
        gemma3__rope__scaling__factor=8.0,
    )
    config = load_config(str(path))
    assert config.layer_types == written.config.layer_types
    assert config.rope_parameters["full_attention"]["factor"] == 8.0
    assert config.rope_parameters["sliding_attention"]["rope_type"] == "default"


def refused(path, match):
    with pytest.raises(LoadError, match=match):
        load_model(str(path), device="cpu")


def test_a_mixture_that_calls_itself_llama_is_refused(tmp_path):
    path = write_model_gguf(tmp_path / "a.gguf", tiny_model("llama"), llama__expert_count=8)
    refused(path, r"a\.gguf is a mixture of 8 experts, .*only gpt-oss is read.*safetensors")


def test_blocks_of_different_heads_are_refused(tmp_path):
    path = write_model_gguf(
        tmp_path / "a.gguf", tiny_model("llama"), llama__attention__head_count_kv=[2, 2, 1, 2]
    )
    refused(
        path, r"differ in num_key_value_heads \(\[2, 2, 1, 2\] ...\), which no LlamaForCausalLM"
    )


def test_an_unknown_scaling_is_refused(tmp_path):
    path = write_model_gguf(
        tmp_path / "a.gguf", tiny_model("qwen2"), qwen2__rope__scaling__type="longrope"
    )
    refused(path, r'by "longrope", without the tensors rope_factors_short.weight')


def test_what_a_model_cannot_do_without_is_named(tmp_path):
    path = write_model_gguf(tmp_path / "a.gguf", tiny_model("llama"), llama__context_length=None)
    refused(path, r"a\.gguf lacks llama\.context_length, .*convert it again")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop("blk.1.ffn_up.weight"), r"lacks blk\.1\.ffn_up\.weight, which a Qwen2"),
        (
            lambda t: t.update({"blk.1.odd.weight": (np.ones((2, 2), np.float32), F32)}),
            r"holds blk\.1\.odd\.weight, which a Qwen2ForCausalLM has no place for",
        ),
        (
            lambda t: t.update({"blk.1.ffn_up.weight": (np.ones((95, 48), np.float32), F32)}),
            r"blk\.1\.ffn_up\.weight in .*a\.gguf has shape \[95, 48\], .* say \[96, 48\]",
        ),
        (
            lambda t: t.update({"blk.1.ffn_up.weight": (np.ones((48, 96), np.float32), F32)}),
            r"blk\.1\.ffn_up\.weight in .*a\.gguf has shape \[48, 96\], .* say \[96, 48\]",
        ),
        (lambda t: t.pop("token_embd.weight"), r"lacks token_embd\.weight"),
    ],
)
def test_tensors_that_do_not_fit_the_metadata_are_named(change, match, tmp_path):
    model = tiny_model("qwen2")
    tensors = model_tensors(model)
    change(tensors)
    told = {f"qwen2.{key}": value for key, value in model_metadata(model).items()}
    told |= bpe_metadata(tiny_tokenizer(), VOCAB_SIZE)
    refused(write_gguf(tmp_path / "a.gguf", "qwen2", told, tensors), match)
