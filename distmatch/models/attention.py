"""Packed token trees → the attention mask each family takes.

A token sees itself and its ancestors: the sequence it would stand in alone. Sliding windows count
positions in that sequence, not places in the pack. Masks are additive floats, which every
implementation takes (a boolean one is silently wrong under eager attention).
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PretrainedConfig

TreeMask = Tensor | dict[str, Tensor]


class Tree(NamedTuple):
    """Sequences as one prefix tree, its tokens in preorder, as in `data.batching.TreeBatch`."""

    ids: Int[Tensor, "packs tokens"]
    depths: Int[Tensor, "packs tokens"]
    """Position ids."""
    ends: Int[Tensor, "packs tokens"]
    """One past each token's subtree."""


def tree_inputs(model: nn.Module, tree: Tree) -> dict[str, Any]:
    """What a model's forward is given to run packed trees.

    Args:
        model: A causal language model that takes a mask (`models.proof`), beneath wrappers.
        tree: One or more.
    """
    config = model.config.get_text_config()  # type: ignore[union-attr, operator]
    dtype = model.get_input_embeddings().weight.dtype  # type: ignore[operator]
    mask = tree_mask(tree.depths, tree.ends, config, dtype)
    return {
        "input_ids": tree.ids,
        "attention_mask": mask,
        "position_ids": tree.depths,
        "use_cache": False,
    }


def tree_mask(
    depths: Int[Tensor, "packs tokens"],
    ends: Int[Tensor, "packs tokens"],
    config: PretrainedConfig,
    dtype: torch.dtype,
) -> TreeMask:
    """The mask for a model's `attention_mask`.

    Args:
        depths: Position ids.
        ends: One past each token's subtree, tokens in preorder.
        config: The text model's.
        dtype: The hidden states'.

    Returns:
        (packs, 1, tokens, tokens), or a dict of them where layers of a model differ in kind.
    """
    index = torch.arange(ends.shape[1], device=ends.device)
    is_seen = (index <= index[:, None]) & (index[:, None] < ends[:, None, :])
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    full = _additive(is_seen, dtype)
    if window is None or (kinds and "sliding_attention" not in kinds):
        return full
    sliding = _additive(_within(is_seen, depths, window), dtype)
    return {"full_attention": full, "sliding_attention": sliding} if kinds else sliding


def _within(
    is_seen: Bool[Tensor, "packs tokens tokens"], depths: Int[Tensor, "packs tokens"], window: int
) -> Bool[Tensor, "packs tokens tokens"]:
    return is_seen & (depths[:, :, None] - depths[:, None, :] < window)


def _additive(
    is_seen: Bool[Tensor, "packs tokens tokens"], dtype: torch.dtype
) -> Float[Tensor, "packs 1 tokens tokens"]:
    mask = torch.zeros(is_seen.shape, dtype=dtype, device=is_seen.device)
    return mask.masked_fill(~is_seen, torch.finfo(dtype).min)[:, None]
