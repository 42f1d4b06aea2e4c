"""Models and tokenizers of transformers written as GGUF, as llama.cpp's converter does.

Names, row orders and offsets are written out here, not taken from the package that reads them.
"""

import json
import re

import numpy as np
import torch
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType

from distmatch.models.mxfp4 import quantize
from tests.tiny import tiny_tokenizer

F32, MXFP4 = GGMLQuantizationType.F32, GGMLQuantizationType.MXFP4

_OUTSIDE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
}
_INSIDE = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.qkv_proj": "attn_qkv",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.router": "ffn_gate_inp",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_FOUR_NORMS = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3", "gpt_oss": "gpt-oss"}


def architecture(model):
    kind = model.config.model_type
    return _ARCHITECTURES.get(kind, kind)


def write_gguf(path, arch, metadata, tensors):
    """A file of metadata, lists among them, and of tensors as (values or blocks, kind)."""
    writer = GGUFWriter(path, arch)
    for key, value in metadata.items():
        add = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
            list: writer.add_array,
        }[type(value)]
        add(key, value)
    for name, (values, kind) in tensors.items():
        writer.add_tensor(name, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_model_gguf(path, model, tokenizer=None, *, packed=False, change=dict, **more):
    """A model with a byte-level tokenizer, in float32; `packed`: gpt-oss's experts in MXFP4.

    `change` makes other tensors of those that would be written. More metadata take the place of
    what the converter would write; None leaves an entry out.
    """
    arch = architecture(model)
    tokenizer = tokenizer or tiny_tokenizer()
    metadata = {
        **{f"{arch}.{key}": value for key, value in model_metadata(model).items()},
        **bpe_metadata(tokenizer, model.config.vocab_size),
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    metadata = {key: value for key, value in metadata.items() if value is not None}
    return write_gguf(path, arch, metadata, change(model_tensors(model, packed)))


def model_metadata(model):
    config, kind = model.config, model.config.model_type
    if kind == "gpt2":
        return {
            "block_count": config.n_layer,
            "context_length": config.n_positions,
            "embedding_length": config.n_embd,
            "feed_forward_length": config.n_inner,
            "attention.head_count": config.n_head,
            "attention.layer_norm_epsilon": config.layer_norm_epsilon,
        }
    told = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
    }
    if getattr(config, "head_dim", None):
        told |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    if architecture(model) == "llama":
        told["rope.dimension_count"] = config.head_dim
    if getattr(config, "sliding_window", None):
        told["attention.sliding_window"] = config.sliding_window
    for cap in ("attn_logit_softcapping", "final_logit_softcapping"):
        if getattr(config, cap, None):
            told[cap] = config.to_dict()[cap]
    if kind == "gpt_oss":
        told |= {
            "expert_count": config.num_local_experts,
            "expert_used_count": config.num_experts_per_tok,
            "expert_feed_forward_length": config.intermediate_size,
        }
    rope = config.rope_parameters
    return told | rope_metadata(rope.get("full_attention", rope), config)


def rope_metadata(rope, config):
    told = {"rope.freq_base": float(rope["rope_theta"])}
    if rope["rope_type"] in ("linear", "yarn"):
        told |= {
            "rope.scaling.type": rope["rope_type"],
            "rope.scaling.factor": float(rope["factor"]),
        }
    if rope["rope_type"] == "yarn":
        told["rope.scaling.original_context_length"] = rope["original_max_position_embeddings"]
    if config.model_type == "phi3":
        head = config.hidden_size // config.num_attention_heads
        told["rope.dimension_count"] = int(rope.get("partial_rotary_factor", 1.0) * head)
    if rope["rope_type"] == "longrope":
        told |= {
            "rope.scaling.original_context_length": config.original_max_position_embeddings,
            "rope.scaling.attn_factor": float(rope["attention_factor"]),
        }
    return told


def bpe_metadata(tokenizer, vocab_size, pre="gpt-2"):
    """The vocabulary padded to the model's, as llama.cpp pads it; special tokens are control."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    places = tokenizer.get_vocab()
    tokens = [f"[PAD{place}]" for place in range(vocab_size)]
    kinds = [5] * vocab_size
    for token, place in places.items():
        tokens[place], kinds[place] = token, 1
    for added in content["added_tokens"]:
        kinds[added["id"]] = 3 if added["special"] else 4
    told = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in content["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_token_id,
        "tokenizer.ggml.bos_token_id": tokenizer.bos_token_id,
        "tokenizer.chat_template": tokenizer.chat_template,
    }
    return {key: value for key, value in told.items() if value is not None}


def model_tensors(model, packed=False):
    tensors = {}
    for name, weight in model.named_parameters():
        values = weight.detach().float().numpy()
        if ".experts." in name:
            tensors |= _experts(name, weight.detach(), packed)
        else:
            stored = stored_name(name, model.config.model_type)
            tensors[stored] = (np.ascontiguousarray(_laid(stored, values, model.config)), F32)
    return tensors | _rope_tensors(model.config)


def stored_name(name, kind):
    if name.endswith(".sinks"):
        return f"blk.{name.split('.')[2]}.attn_sinks.weight"
    module, _, suffix = name.rpartition(".")
    if module in _OUTSIDE:
        return f"{_OUTSIDE[module]}.{suffix}"
    block, inside = re.fullmatch(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.*)", module).groups()
    four = kind in ("gemma2", "gemma3_text") or (kind == "gpt_oss" and "post_att" in inside)
    names = _INSIDE | (_FOUR_NORMS if four else {})
    return f"blk.{block}.{names[inside]}.{suffix}"


def _laid(stored, values, config):
    kind = config.model_type
    if kind in ("llama", "mistral") and ".attn_q." in stored:
        return permuted(values, config.num_attention_heads)
    if kind in ("llama", "mistral") and ".attn_k." in stored:
        return permuted(values, config.num_key_value_heads)
    if kind.startswith("gemma") and stored.endswith("norm.weight"):
        return values + np.float32(1)
    if kind == "gpt2" and stored.startswith("blk.") and values.ndim == 2:
        return values.T
    return values


def permuted(values, heads):
    halves = values.reshape(heads, 2, -1, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def _experts(name, weight, packed):
    """gate_up's columns take turns in transformers; dense stacks lie (experts, in, out) there."""
    block, site = name.split(".")[2], name.rpartition(".")[2]
    kind = "bias" if site.endswith("_bias") else "weight"
    rows = weight if kind == "bias" else weight.mT
    parts = {"gate": rows[:, ::2], "up": rows[:, 1::2]} if "gate_up" in site else {"down": rows}
    stored = {}
    for part, values in parts.items():
        own = values.float().contiguous()
        is_packed = packed and kind == "weight"
        stored[f"blk.{block}.ffn_{part}_exps.{kind}"] = (
            (mxfp4_groups(own), MXFP4) if is_packed else (own.numpy(), F32)
        )
    return stored


def mxfp4_groups(values):
    """Groups of 17 bytes: the scale, then codes j and j + 16 in a byte."""
    blocks, scales = quantize(values)
    codes = torch.stack((blocks & 0xF, blocks >> 4), dim=-1).flatten(-2)
    bytes_ = codes[..., :16] | codes[..., 16:] << 4
    return torch.cat([scales[..., None], bytes_], dim=-1).flatten(-2).numpy()


def _rope_tensors(config):
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "llama3":
        return {"rope_freqs.weight": (llama3_divisors(rope, config.head_dim), F32)}
    if rope.get("rope_type") == "longrope":
        return {
            f"rope_factors_{which}.weight": (np.array(rope[f"{which}_factor"], np.float32), F32)
            for which in ("long", "short")
        }
    return {}


def llama3_divisors(rope, head_dim):
    """As llama.cpp's converter computes them."""
    divisors, context = [], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    for i in range(0, head_dim, 2):
        wavelength = 2 * np.pi * rope["rope_theta"] ** (i / head_dim)
        if wavelength < context / high:
            divisors.append(1.0)
        elif wavelength > context / low:
            divisors.append(rope["factor"])
        else:
            smooth = (context / wavelength - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(divisors, np.float32)
