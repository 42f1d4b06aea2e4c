"""A Llama against bytes written here, one by one."""

import struct

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from distmatch.models.gguf.directory import checked_gguf, write_model
from tests.models.gguf.tiny_gguf import HEAD_DIM, HEADS, HIDDEN, KV_HEADS, TEXTS, tiny_gguf

CONTENT, TENSORS = tiny_gguf()


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The directory written from the bytes."""
    directory = tmp_path_factory.mktemp("converted")
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    path.write_bytes(CONTENT)
    write_model(checked_gguf(path), directory, "float32")
    return directory


def brute(tensor, row, column):
    """One weight in Python floats, from the definition of its kind."""
    shape, kind, payload = tensor
    block, within = divmod(row * shape[1] + column, 32)
    if kind == 8:
        scale, *quants = struct.unpack_from("<e32b", payload, block * 34)
        return scale * quants[within]
    scale, minimum, *packed = struct.unpack_from("<ee16B", payload, block * 20)
    half = packed[within % 16]
    return scale * (half % 16 if within < 16 else half // 16) + minimum


@pytest.mark.parametrize(
    ("stored", "loaded"),
    [
        ("token_embd", "model.embed_tokens"),
        ("blk.0.attn_v", "model.layers.0.self_attn.v_proj"),
        ("blk.0.attn_output", "model.layers.0.self_attn.o_proj"),
        ("blk.0.ffn_gate", "model.layers.0.mlp.gate_proj"),
        ("blk.0.ffn_up", "model.layers.0.mlp.up_proj"),
        ("blk.0.ffn_down", "model.layers.0.mlp.down_proj"),
    ],
)
def test_every_weight_has_the_value_its_block_defines(converted, stored, loaded):
    weights, tensor = load_file(converted / "model.safetensors"), TENSORS[f"{stored}.weight"]
    rows, columns = tensor[0]
    wanted = [[brute(tensor, row, column) for column in range(columns)] for row in range(rows)]
    np.testing.assert_allclose(weights[f"{loaded}.weight"], wanted, rtol=2e-7, atol=1e-6)


@pytest.mark.parametrize(("site", "heads"), [("q", HEADS), ("k", KV_HEADS)])
def test_rotated_pairs_move_from_neighbours_to_halves(converted, site, heads):
    weights = load_file(converted / "model.safetensors")
    loaded = weights[f"model.layers.0.self_attn.{site}_proj.weight"]
    for head in range(heads):
        for pair in range(HEAD_DIM // 2):
            for part in range(2):
                stored_row = head * HEAD_DIM + 2 * pair + part
                row = head * HEAD_DIM + part * HEAD_DIM // 2 + pair
                wanted = [
                    brute(TENSORS[f"blk.0.attn_{site}.weight"], stored_row, i)
                    for i in range(HIDDEN)
                ]
                np.testing.assert_allclose(loaded[row], wanted, rtol=2e-7, atol=1e-6)


def test_norms_are_kept_as_they_are(converted):
    weights = load_file(converted / "model.safetensors")
    single = np.frombuffer(TENSORS["output_norm.weight"][2], "<f4")
    half = np.frombuffer(TENSORS["blk.0.ffn_norm.weight"][2], "<f2")
    np.testing.assert_array_equal(weights["model.norm.weight"], single)
    np.testing.assert_array_equal(weights["model.layers.0.post_attention_layernorm.weight"], half)


def test_what_is_written_is_an_ordinary_model(converted):
    model, report = AutoModelForCausalLM.from_pretrained(converted, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(converted)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert getattr(model, "hf_quantizer", None) is None
    assert model.dtype == torch.float32
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == 2
    for text in TEXTS:
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert (
        tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"
    )
