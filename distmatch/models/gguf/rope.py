"""How a file's model rotates its queries and keys, as transformers' configs say it."""

from typing import Any

import numpy as np

from distmatch.errors import LoadError
from distmatch.models.gguf.stored import Gguf

FACTORS, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
"""Tensors that hold divisors of the frequencies, and no weights of the model."""

_BASE = 10000.0
_LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
"""Of every published Llama 3; a file has only the divisors that come of them."""


def rope_parameters(gguf: Gguf) -> dict[str, Any]:
    """`rope_parameters` of the config.

    Raises:
        LoadError: A scaling that isn't known.
    """
    base = {"rope_theta": gguf.about("rope.freq_base", _BASE)}
    if FACTORS in gguf.tensors:
        return _by_factors(gguf, base)
    if SHORT in gguf.tensors and LONG in gguf.tensors:
        return _long(gguf, base, SHORT, LONG)
    kind = gguf.about("rope.scaling.type", "linear")
    factor = gguf.about("rope.scaling.factor", gguf.about("rope.scale_linear", 0.0))
    if kind not in ("none", "linear", "yarn"):
        raise LoadError(
            f'{gguf.path} scales its rotary embedding by "{kind}", without the tensors {SHORT} and '
            f"{LONG}; known without them: linear, yarn. Convert it again with a current llama.cpp"
        )
    if kind == "none" or factor in (0.0, 1.0):
        return {"rope_type": "default", **base}
    if kind == "linear":
        return {"rope_type": "linear", **base, "factor": factor}
    return {"rope_type": "yarn", **base, "factor": factor, **_yarn(gguf)}


def _yarn(gguf: Gguf) -> dict[str, Any]:
    told = {
        "original_max_position_embeddings": gguf.about(
            "rope.scaling.original_context_length", gguf.needed("context_length")
        ),
        "attention_factor": gguf.about("rope.scaling.yarn_attn_factor"),
        "beta_fast": gguf.about("rope.scaling.yarn_beta_fast"),
        "beta_slow": gguf.about("rope.scaling.yarn_beta_slow"),
    }
    return {key: value for key, value in told.items() if value is not None}


def _by_factors(gguf: Gguf, base: dict[str, Any]) -> dict[str, Any]:
    """Llama 3's scaling where the divisors are those of a published one, else just the divisors."""
    factors = gguf.values(FACTORS).reshape(-1).astype(np.float64)
    turns = base["rope_theta"] ** -np.linspace(0, 1, len(factors), endpoint=False) / (2 * np.pi)
    low, high, context = _LLAMA3.values()
    kept = np.clip((context * turns - low) / (high - low), 0, 1)
    if np.allclose(factors, 1 / (kept + (1 - kept) / factors.max()), rtol=1e-4):
        return {"rope_type": "llama3", **base, "factor": float(factors.max()), **_LLAMA3}
    return {**_long(gguf, base, FACTORS, FACTORS), "factor": 1.0, "attention_factor": 1.0}


def _long(gguf: Gguf, base: dict[str, Any], short: str, long: str) -> dict[str, Any]:
    context = gguf.needed("context_length")
    told = {
        "rope_type": "longrope",
        **base,
        "short_factor": gguf.values(short).reshape(-1).tolist(),
        "long_factor": gguf.values(long).reshape(-1).tolist(),
        "original_max_position_embeddings": gguf.about(
            "rope.scaling.original_context_length", context
        ),
    }
    if (scale := gguf.about("rope.scaling.attn_factor")) is not None:
        told["attention_factor"] = scale
    return told
