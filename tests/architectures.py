"""Small random models of many architectures: other attention, recurrence, hybrids, encoders."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

_SHAPE: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_KV: dict[str, Any] = {"num_key_value_heads": 2}
_CHOSEN = {"num_experts_per_tok": 2}
_EXPERTS: dict[str, Any] = (
    _KV
    | _CHOSEN
    | {
        "num_experts": 4,
        "num_local_experts": 4,
        "moe_intermediate_size": 32,
    }
)
_LINEAR: dict[str, Any] = {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
_LINEAR |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "head_dim": 16}
_MIXED = ["linear_attention", "full_attention"] * 2
_LONG_ROPE = {"rope_type": "longrope", "short_factor": [1.0] * 6, "long_factor": [4.0] * 6}
_LONG_ROPE |= {"rope_theta": 10000.0, "original_max_position_embeddings": 16}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt_neo": {"window_size": 8, "attention_types": [[["global", "local"], 2]]},
    "mpt": {"d_model": 48, "n_heads": 4, "n_layers": 4},
    "rwkv": {"attention_hidden_size": 48},
    "bloom": {"n_head": 4, "n_layer": 4},
    "mamba": {"state_size": 4},
    "lfm2": _KV | {"layer_types": ["conv", "full_attention"] * 2},
    "phi3": _KV | {"rope_parameters": _LONG_ROPE},
    "qwen3_next": _EXPERTS | _LINEAR | {"layer_types": _MIXED},
    "jamba": _EXPERTS | {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4},
    "recurrent_gemma": {"lru_width": 48, "attention_window_size": 8, "num_key_value_heads": 1},
    "llama4_text": _KV | {"attention_chunk_size": 8, "num_local_experts": 2, "head_dim": 16},
    "cohere2": _KV | {"sliding_window": 8},
    "gpt_neox": {},
    "gptj": {"rotary_dim": 4},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 48},
    "falcon": {"alibi": True},
    "mixtral": _EXPERTS | {"sliding_window": 8},
    "granite": _KV,
    "olmo2": _KV,
    "starcoder2": _KV,
    "gpt_bigcode": {},
    "stablelm": _KV | {"partial_rotary_factor": 0.5},
    "phi": _KV,
    "bert": {},
    "roberta": {},
}
"""What is told to each architecture's config besides a small shape."""


def architecture(name: str, **told: Any) -> PreTrainedModel:
    """A seeded random model, wide enough drawn that every token it sees changes its logits."""
    config = AutoConfig.for_model(name, **(_SHAPE | ARCHITECTURES[name] | told))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for weight in model.parameters():
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.1)
    return model.eval()
