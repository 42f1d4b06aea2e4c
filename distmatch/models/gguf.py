"""GGUF files of Llama-architecture models → directories that `from_pretrained` loads.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import shutil
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from distmatch.files import write_json

_Q4_1 = np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("packed", "u1", 16)])
_Q8_0 = np.dtype([("scale", "<f2"), ("quants", "i1", 32)])
_KINDS: dict[int, np.dtype] = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 3: _Q4_1, 8: _Q8_0}
_CONTROL_TOKEN = 3
_MODULES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE_BLOCKS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    kind: int
    data: memoryview


class Gguf(NamedTuple):
    """What a file holds; tensors in the kinds they are stored in."""

    metadata: dict[str, Any]
    tensors: dict[str, _Tensor]


class _Cursor:
    """A place in the bytes, moved on by every read."""

    NUMBERS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}  # kinds as struct codes
    STRING, ARRAY = 8, 9

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def number(self, code: str) -> Any:
        (number,) = struct.unpack_from("<" + code, self.content, self.position)
        self.position += struct.calcsize("<" + code)
        return number

    def string(self) -> str:
        length = self.number("Q")
        self.position += length
        return self.content[self.position - length : self.position].decode()

    def value(self, kind: int) -> Any:
        if kind == self.STRING:
            return self.string()
        if kind == self.ARRAY:
            kind, length = self.number("I"), self.number("Q")
            return [self.value(kind) for _ in range(length)]
        return self.number(self.NUMBERS[kind])


def read_gguf(content: bytes) -> Gguf:
    """What the bytes of a whole file hold, known to be undamaged."""
    cursor = _Cursor(content)
    cursor.position = 8  # past the magic and the version
    num_tensors, num_entries = cursor.number("Q"), cursor.number("Q")
    metadata = {cursor.string(): cursor.value(cursor.number("I")) for _ in range(num_entries)}
    headers = []
    for _ in range(num_tensors):
        name = cursor.string()
        shape = tuple(cursor.number("Q") for _ in range(cursor.number("I")))[::-1]
        headers.append((name, shape, cursor.number("I"), cursor.number("Q")))
    alignment = metadata.get("general.alignment", 32)
    start = -(-cursor.position // alignment) * alignment
    tensors = {
        name: _Tensor(shape, kind, memoryview(content)[start + offset :])
        for name, shape, kind, offset in headers
    }
    return Gguf(metadata, tensors)


def _dequantised(tensor: _Tensor) -> np.ndarray:
    """The tensor in float32; both quantised kinds are rows of blocks of 32 values."""
    dtype = _KINDS[tensor.kind]
    num_blocks = int(np.prod(tensor.shape)) // (32 if dtype.names else 1)
    blocks = np.frombuffer(tensor.data, dtype, num_blocks)
    if dtype is _Q4_1:
        # The low halves of the 16 bytes are values 0-15 of the block, the high halves 16-31.
        nibbles = np.concatenate([blocks["packed"] & 15, blocks["packed"] >> 4], axis=1)
        values = nibbles * blocks["scale"].astype(np.float32)[:, None]
        values += blocks["minimum"].astype(np.float32)[:, None]
    elif dtype is _Q8_0:
        values = blocks["quants"] * blocks["scale"].astype(np.float32)[:, None]
    else:
        values = blocks.astype(np.float32)
    return values.reshape(tensor.shape)


def write_model(gguf: Gguf, directory: Path) -> None:
    """Write weights in float32, configs and tokenizer into a directory, which exists.

    Args:
        gguf: Of Llama's architecture, with tensors of kinds F32, F16, Q8_0 and Q4_1.
        directory: What `from_pretrained` then loads.
    """
    save_file(_weights(gguf), directory / "model.safetensors", metadata={"format": "pt"})
    write_json(directory / "config.json", _config(gguf))
    # safetensors hides its file from other users; a shared cache shouldn't
    shutil.copymode(directory / "config.json", directory / "model.safetensors")
    ids = {f"{name}_token_id": _token_id(gguf, name) for name in ("bos", "eos", "pad")}
    write_json(directory / "generation_config.json", ids)
    _tokenizer(gguf).save(str(directory / "tokenizer.json"))
    write_json(directory / "tokenizer_config.json", _tokenizer_config(gguf))


def _weights(gguf: Gguf) -> dict[str, np.ndarray]:
    heads = {
        "attn_q": gguf.metadata["llama.attention.head_count"],
        "attn_k": gguf.metadata["llama.attention.head_count_kv"],
    }
    weights = {}
    for name, tensor in gguf.tensors.items():
        values = _dequantised(tensor)
        if name in _OUTSIDE_BLOCKS:
            weights[_OUTSIDE_BLOCKS[name]] = values
        else:
            _, block, site, _ = name.split(".")
            values = _unpermuted(values, heads[site]) if site in heads else values
            weights[f"model.layers.{block}.{_MODULES[site]}.weight"] = values
    return weights


def _unpermuted(values: np.ndarray, num_heads: int) -> np.ndarray:
    """Query or key rows in the order of transformers' rotary embedding.

    llama.cpp rotates neighbouring rows of a head (2i, 2i+1), transformers row i of its first half
    with row i of its second.
    """
    pairs = values.reshape(num_heads, -1, 2, values.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def _config(gguf: Gguf) -> dict[str, Any]:
    llama = {key.removeprefix("llama."): value for key, value in gguf.metadata.items()}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_act": "silu",
        "hidden_size": llama["embedding_length"],
        "intermediate_size": llama["feed_forward_length"],
        "num_hidden_layers": llama["block_count"],
        "num_attention_heads": llama["attention.head_count"],
        "num_key_value_heads": llama["attention.head_count_kv"],
        "head_dim": llama["rope.dimension_count"],
        "max_position_embeddings": llama["context_length"],
        "rms_norm_eps": llama["attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_type": "default", "rope_theta": llama["rope.freq_base"]},
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "vocab_size": llama["vocab_size"],
        **{f"{name}_token_id": _token_id(gguf, name) for name in ("bos", "eos", "pad")},
    }


def _token_id(gguf: Gguf, name: str) -> int:
    spelled = {"pad": "padding", "unk": "unknown"}.get(name, name)
    return gguf.metadata[f"tokenizer.ggml.{spelled}_token_id"]


def _tokenizer(gguf: Gguf) -> Tokenizer:
    """The file's byte-level BPE; its `tokenizer.ggml.pre` is "smollm": digits alone, then GPT-2's.

    The GGUF loader of transformers 5.23 leaves the digits out, so that it splits the spaces in
    "a  1" otherwise than the model was trained on.
    """
    tokens = gguf.metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in gguf.metadata["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = gguf.metadata["tokenizer.ggml.token_type"]
    control = [tokens[index] for index, kind in enumerate(kinds) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    return tokenizer


def _tokenizer_config(gguf: Gguf) -> dict[str, Any]:
    tokens = gguf.metadata["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": gguf.metadata["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": gguf.metadata["tokenizer.chat_template"],
        **{f"{name}_token": tokens[_token_id(gguf, name)] for name in ("bos", "eos", "pad", "unk")},
    }
