"""What differs between architectures: the config a file describes, and how llama.cpp lays weights.

llama.cpp's side is that of its `convert_hf_to_gguf.py` and `llama-model.cpp` (2026).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distmatch.errors import LoadError
from distmatch.models.gguf.rope import rope_parameters
from distmatch.models.gguf.stored import Gguf

HEAD, EMBEDDING = "output.weight", "token_embd.weight"

_GPT_OSS_ROPE = {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": False}
"""Of every published gpt-oss, and in no file."""

Settings = dict[str, Any]
Laid = Callable[[Gguf, str, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture of llama.cpp's, as transformers has it."""

    model_class: str
    model_type: str
    settings: Callable[[Gguf], Settings]
    """The config, but for the ids of special tokens."""
    laid: Laid = lambda _gguf, _name, values: values
    """A weight as transformers lays it, given llama.cpp's name and values."""


def model_config(gguf: Gguf, token_ids: Mapping[str, Any], dtype: str) -> Settings:
    """What config.json is to say.

    Args:
        gguf: A model's, checked.
        token_ids: Of special tokens, by the config's names.
        dtype: Of the weights that will lie beside it.

    Raises:
        LoadError: The metadata lack something, or describe what that architecture can't be.
    """
    known = architecture_of(gguf)
    return {
        "architectures": [known.model_class],
        "model_type": known.model_type,
        "dtype": dtype,
        **known.settings(gguf),
        **token_ids,
    }


def architecture_of(gguf: Gguf) -> Architecture:
    """That of a checked file."""
    if gguf.architecture == "llama" and gguf.about("attention.sliding_window"):
        return _MISTRAL  # else Mistral is Llama, and llama.cpp calls both so
    return ARCHITECTURES[gguf.architecture]


def _decoder(gguf: Gguf, **more: Any) -> Settings:
    """What nearly all architectures have; theirs comes with `more`, in place of what is here."""
    if gguf.about("expert_count") and "num_local_experts" not in more:
        raise LoadError(
            f"{gguf.path} is a mixture of {gguf.about('expert_count')} experts, and of those only "
            "gpt-oss is read from GGUF: load its safetensors, from the hub or a directory"
        )
    heads = gguf.needed("attention.head_count")
    settings = {
        "hidden_act": "silu",
        "hidden_size": gguf.needed("embedding_length"),
        "intermediate_size": gguf.needed("feed_forward_length"),
        "num_hidden_layers": gguf.needed("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": gguf.about("attention.head_count_kv", heads),
        "head_dim": _head_dim(gguf),
        "max_position_embeddings": gguf.needed("context_length"),
        "rms_norm_eps": gguf.needed("attention.layer_norm_rms_epsilon"),
        "rope_parameters": rope_parameters(gguf),
        "tie_word_embeddings": HEAD not in gguf.tensors,
        "vocab_size": gguf.tensors[EMBEDDING].shape[0],
        **more,
    }
    for key in ("intermediate_size", "num_attention_heads", "num_key_value_heads"):
        if isinstance(settings[key], list):
            raise LoadError(
                f"the blocks of {gguf.path} differ in {key} ({settings[key][:4]} ...), which "
                f"no {architecture_of(gguf).model_class} can: load its safetensors"
            )
    return {key: value for key, value in settings.items() if value is not None}


def _head_dim(gguf: Gguf) -> int:
    turned = gguf.about("rope.dimension_count")
    derived = turned or gguf.needed("embedding_length") // gguf.needed("attention.head_count")
    return gguf.about("attention.key_length", derived)


def _llama(gguf: Gguf) -> Settings:
    return _decoder(gguf, **_bias(gguf))


def _mistral(gguf: Gguf) -> Settings:
    return _decoder(gguf, sliding_window=gguf.about("attention.sliding_window"))


def _qwen2(gguf: Gguf) -> Settings:
    return _decoder(gguf, head_dim=None)


def _bias(gguf: Gguf) -> Settings:
    return {"attention_bias": True} if "blk.0.attn_q.bias" in gguf.tensors else {}


def _gemma(gguf: Gguf) -> Settings:
    return _decoder(gguf, hidden_act="gelu_pytorch_tanh")


def _gemma2(gguf: Gguf) -> Settings:
    # What files of before soft-caps and windows were written leave out is what all of them have
    capped = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    settings = _windowed_gemma(gguf, 2, largest=46, window=4096)
    return settings | {key: settings[key] or default for key, default in capped.items()}


def _gemma3(gguf: Gguf) -> Settings:
    turned = {
        "sliding_attention": {
            "rope_type": "default",
            "rope_theta": gguf.about("rope.freq_base_swa", 10000.0),
        },
        "full_attention": rope_parameters(gguf),
    }
    return _windowed_gemma(gguf, 6, largest=62) | {"rope_parameters": turned}


def _windowed_gemma(gguf: Gguf, period: int, largest: int, window: int | None = None) -> Settings:
    """Gemma 2 or 3, whose every `period`-th block sees all; no file says what scores are scaled by.

    It is the size of a head, but in the one of 27B, known by its `largest` number of blocks, the
    hidden size over the number of heads.
    """
    settings = _decoder(gguf, hidden_act=None, hidden_activation="gelu_pytorch_tanh")
    blocks, scale = settings["num_hidden_layers"], settings["head_dim"]
    if blocks == largest:
        scale = settings["hidden_size"] // settings["num_attention_heads"]
    return settings | {
        "query_pre_attn_scalar": scale,
        "attn_logit_softcapping": gguf.about("attn_logit_softcapping"),
        "final_logit_softcapping": gguf.about("final_logit_softcapping"),
        **_windows(gguf, blocks, period, window),
    }


def _windows(gguf: Gguf, blocks: int, period: int, default: int | None = None) -> Settings:
    window = gguf.about("attention.sliding_window", default)
    pattern = gguf.about("attention.sliding_window_pattern", period)
    if not isinstance(pattern, list):
        pattern = [(block + 1) % pattern != 0 for block in range(blocks)]
    kinds = ("full_attention", "sliding_attention")
    slides = [bool(window) and bool(slid) for slid in pattern]
    return {"sliding_window": window or None, "layer_types": [kinds[slid] for slid in slides]}


def _gpt2(gguf: Gguf) -> Settings:
    return {
        "n_embd": gguf.needed("embedding_length"),
        "n_inner": gguf.needed("feed_forward_length"),
        "n_layer": gguf.needed("block_count"),
        "n_head": gguf.needed("attention.head_count"),
        "n_positions": gguf.needed("context_length"),
        "layer_norm_epsilon": gguf.needed("attention.layer_norm_epsilon"),
        "tie_word_embeddings": HEAD not in gguf.tensors,
        "vocab_size": gguf.tensors[EMBEDDING].shape[0],
    }


def _phi3(gguf: Gguf) -> Settings:
    rope = rope_parameters(gguf)
    head = gguf.needed("embedding_length") // gguf.needed("attention.head_count")
    rope["partial_rotary_factor"] = gguf.about("rope.dimension_count", head) / head
    context = gguf.about("rope.scaling.original_context_length", gguf.needed("context_length"))
    return _decoder(
        gguf,
        head_dim=None,
        rope_parameters=rope,
        original_max_position_embeddings=context,
        sliding_window=gguf.about("attention.sliding_window") or None,
    )


def _gpt_oss(gguf: Gguf) -> Settings:
    blocks = gguf.needed("block_count")
    return _decoder(
        gguf,
        intermediate_size=gguf.about(
            "expert_feed_forward_length", gguf.about("feed_forward_length")
        ),
        num_local_experts=gguf.needed("expert_count"),
        num_experts_per_tok=gguf.needed("expert_used_count"),
        rope_parameters=_GPT_OSS_ROPE | rope_parameters(gguf),
        **_windows(gguf, blocks, 2),
    )


def _neighbours_apart(gguf: Gguf, name: str, values: np.ndarray) -> np.ndarray:
    """Query or key rows in the order of transformers' rotary embedding.

    For Llama, llama.cpp rotates neighbouring rows of a head (2i, 2i+1), transformers row i of its
    first half with row i of its second.
    """
    heads = {"attn_q": "attention.head_count", "attn_k": "attention.head_count_kv"}
    key = heads.get(name.split(".")[-2])
    if key is None:
        return values
    num_heads = gguf.about(key) or gguf.needed("attention.head_count")
    pairs = values.reshape(num_heads, -1, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def _without_one(_gguf: Gguf, name: str, values: np.ndarray) -> np.ndarray:
    """Gemma's norms multiply by one more than their weights; files have the sum."""
    return values - np.float32(1) if name.endswith("norm.weight") else values


def _transposed(_gguf: Gguf, name: str, values: np.ndarray) -> np.ndarray:
    """GPT-2's layers lie transposed in transformers, its embeddings don't."""
    is_layer = name.startswith("blk.") and values.ndim > 1
    return np.ascontiguousarray(values.T) if is_layer else values


_MISTRAL = Architecture("MistralForCausalLM", "mistral", _mistral, _neighbours_apart)

ARCHITECTURES = {
    "llama": Architecture("LlamaForCausalLM", "llama", _llama, _neighbours_apart),
    "qwen2": Architecture("Qwen2ForCausalLM", "qwen2", _qwen2),
    "qwen3": Architecture("Qwen3ForCausalLM", "qwen3", _llama),
    "gemma": Architecture("GemmaForCausalLM", "gemma", _gemma, _without_one),
    "gemma2": Architecture("Gemma2ForCausalLM", "gemma2", _gemma2, _without_one),
    "gemma3": Architecture("Gemma3ForCausalLM", "gemma3_text", _gemma3, _without_one),
    "gpt2": Architecture("GPT2LMHeadModel", "gpt2", _gpt2, _transposed),
    "phi3": Architecture("Phi3ForCausalLM", "phi3", _phi3),
    "gpt-oss": Architecture("GptOssForCausalLM", "gpt_oss", _gpt_oss),
}
"""By llama.cpp's name; Mistral's files call themselves llama."""
