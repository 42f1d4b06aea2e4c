"""A small GGUF file, written byte by byte."""

import json
import math
import struct

import numpy as np

from tests.tiny import tiny_tokenizer

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FEED_FORWARD = 32, 2, 1, 16, 64
TEXTS = ["red fox 🦊", "naïve café ½", "  two  spaces ", "a  1\n 12", "\t日本語\r\n", "don't"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def _string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _entry(key, value):
    """One metadata entry, its kind from the Python type: u32, f32, string or array of them."""

    def body(value):
        if isinstance(value, str):
            return 8, _string(value)
        return (
            (6, struct.pack("<f", value))
            if isinstance(value, float)
            else (4, struct.pack("<I", value))
        )

    if isinstance(value, list):
        kind = body(value[0])[0]
        items = b"".join(body(item)[1] for item in value)
        return _string(key) + struct.pack("<IIQ", 9, kind, len(value)) + items
    kind, packed = body(value)
    return _string(key) + struct.pack("<I", kind) + packed


def _metadata(vocabulary, merges):
    return {
        "general.architecture": "llama",
        "llama.block_count": 1,
        "llama.context_length": 128,
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": FEED_FORWARD,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.freq_base": 10000.0,
        "llama.rope.dimension_count": HEAD_DIM,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": len(vocabulary),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": vocabulary,
        "tokenizer.ggml.token_type": [3] * len(SPECIALS) + [1] * (len(vocabulary) - len(SPECIALS)),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": "{{ messages[0]['content'] }}",
    }


def tiny_gguf():
    """The bytes of a one-block Llama and its tensors as (shape, kind, payload)."""
    draw = np.random.default_rng(0)

    def blocks(shape, kind):
        count = math.prod(shape) // 32
        halves = draw.normal(size=(count, 2 if kind == 3 else 1)).astype("<f2").view(np.uint8)
        quants = draw.integers(0, 256, (count, 16 if kind == 3 else 32), dtype=np.uint8)
        return shape, kind, np.concatenate([halves, quants], axis=1).tobytes()

    def floats(shape, kind):
        return shape, kind, draw.normal(size=shape).astype("<f4" if kind == 0 else "<f2").tobytes()

    tokens = json.loads(tiny_tokenizer().backend_tokenizer.to_str())["model"]
    vocabulary = sorted(tokens["vocab"], key=tokens["vocab"].get)
    narrow, wide = (KV_HEADS * HEAD_DIM, HIDDEN), (HEADS * HEAD_DIM, HIDDEN)
    tensors = {
        "token_embd.weight": blocks((len(vocabulary), HIDDEN), 8),
        "output_norm.weight": floats((HIDDEN,), 0),
        "blk.0.attn_norm.weight": floats((HIDDEN,), 0),
        "blk.0.ffn_norm.weight": floats((HIDDEN,), 1),
        "blk.0.attn_q.weight": blocks(wide, 3),
        "blk.0.attn_k.weight": blocks(narrow, 3),
        "blk.0.attn_v.weight": blocks(narrow, 3),
        "blk.0.attn_output.weight": blocks(wide, 3),
        "blk.0.ffn_gate.weight": blocks((FEED_FORWARD, HIDDEN), 3),
        "blk.0.ffn_up.weight": blocks((FEED_FORWARD, HIDDEN), 3),
        "blk.0.ffn_down.weight": blocks((HIDDEN, FEED_FORWARD), 3),
    }
    entries = _metadata(vocabulary, [" ".join(merge) for merge in tokens["merges"]])
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    head += b"".join(_entry(key, value) for key, value in entries.items())
    data = b""
    for name, (shape, kind, payload) in tensors.items():
        head += _string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += struct.pack("<IQ", kind, len(data))
        data += payload + bytes(-len(payload) % 32)
    return head + bytes(-len(head) % 32) + data, tensors
