"""A small model of another's class and config, with random weights."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

WINDOW = 8
"""Of its sliding windows, in tokens."""
LENGTH = 16
"""From which on angles of positions are others, where they depend on what is fed."""
VOCAB_SIZE = 64

_MOST_BLOCKS = 8  # where no list says of which kind each is
_MOST_WEIGHTS = 100_000_000
_STD = 0.06  # of its weights: wide enough that attention to other tokens changes every logit
_HEADS, _KEY_HEADS = 4, 2
_NO_HEADS = 128  # the width of what has none
_SMALLER = {
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"), 128),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 64),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "n_group", "topk_group"), 2),
}
_WINDOWS = ("sliding_window", "window_size", "attention_chunk_size", "attention_window_size")
_LENGTHS = ("original_max_position_embeddings",)
_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id")


def miniature(
    kind: type[PreTrainedModel], config: PreTrainedConfig, implementation: str, device: str
) -> PreTrainedModel:
    """A model of random weights, in float32 and evaluation mode.

    Args:
        kind: The class.
        config: As `smaller` leaves it.
        implementation: Of attention.
        device: Where it is to be.

    Raises:
        ValueError: It would be too large for a trial.
        Exception: Whatever else the class raises where it can't be built so.
    """
    config = copy.deepcopy(config)
    config._attn_implementation = implementation
    told: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": implementation}
    with torch.device("meta"):
        size = sum(weight.numel() for weight in kind._from_config(config, **told).parameters())
    if size > _MOST_WEIGHTS:
        raise ValueError(f"{size:,} weights, too many for a trial")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        small = kind._from_config(config, **told).eval()
    return small.to(torch.device(device))


def smaller(config: PreTrainedConfig, *, is_narrow: bool) -> PreTrainedConfig:
    """Two blocks of each kind of layer that a config lists, unquantised and of no dtype.

    Windows, and the lengths from which on angles of positions are others, are cut.

    Args:
        config: A model's; left as it is.
        is_narrow: With few heads and experts and narrow layers, which not every class allows.
    """
    config = copy.deepcopy(config)
    config.name_or_path = ""
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config
    for part in _parts(config):
        part.dtype = None
        _cut_depth(part)
        _set(part, dict.fromkeys(_WINDOWS, WINDOW))
        for rope in _ropes(part):
            rope.update({name: LENGTH for name in _LENGTHS if name in rope})
        _set(part, dict.fromkeys(_LENGTHS, LENGTH) | {"vocab_size": VOCAB_SIZE})
        _set(part, dict.fromkeys(_TOKENS, 0))
        _set(part, {"initializer_range": _STD})
        if is_narrow:
            _cut_width(part)
    return config


def _parts(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    """The config and those inside it, of a text model or of what sees pictures beside it."""
    yield config
    for value in vars(config).values():
        if isinstance(value, PreTrainedConfig):
            yield from _parts(value)


def _ropes(config: PreTrainedConfig) -> Iterator[dict[str, Any]]:
    """What a config says of its rotary angles: of all layers, or of each kind."""
    said = getattr(config, "rope_parameters", None)
    if isinstance(said, dict):
        yield said
        yield from (part for part in said.values() if isinstance(part, dict))


def _set(config: PreTrainedConfig, values: dict[str, Any]) -> None:
    """Change what the config has and what isn't None there, larger numbers alone."""
    for name, value in values.items():
        old = getattr(config, name, None)
        if old is not None and (name not in _SMALLER or (isinstance(old, int) and old > value)):
            setattr(config, name, value)


def _cut_depth(config: PreTrainedConfig) -> None:
    """Leave the first two layers of each kind, as the lists that name all layers tell them."""
    count = getattr(config, "num_hidden_layers", None)
    if not isinstance(count, int):
        return
    lists = {
        name: value
        for name, value in vars(config).items()
        if isinstance(value, (list, tuple)) and len(value) == count
    }
    if not lists:
        config.num_hidden_layers = min(count, _MOST_BLOCKS)
        return
    places: dict[str, list[int]] = {}
    for place in range(count):
        places.setdefault(repr([value[place] for value in lists.values()]), []).append(place)
    kept = sorted(place for same in places.values() for place in same[:2])[: 2 * _MOST_BLOCKS]
    config.num_hidden_layers = len(kept)
    for name, value in lists.items():
        setattr(config, name, type(value)(value[place] for place in kept))


def _cut_width(config: PreTrainedConfig) -> None:
    """Fewer heads of the same size, narrower hidden layers, fewer experts."""
    width, heads = (getattr(config, n, None) for n in ("hidden_size", "num_attention_heads"))
    narrow = width if isinstance(heads, int) else _NO_HEADS
    if isinstance(width, int) and isinstance(heads, int) and heads > _HEADS:
        narrow = width * _HEADS // heads
        config.num_attention_heads = _HEADS
        for name in ("num_key_value_heads", "num_kv_heads"):
            if isinstance(count := getattr(config, name, None), int):
                setattr(config, name, _HEADS if count == heads else min(count, _KEY_HEADS))
    for name, value in list(vars(config).items()):
        if value == width and name.endswith(("hidden_size", "n_embd", "d_model", "embed_dim")):
            setattr(config, name, narrow)
    _set(config, _SMALLER)
