"""How far an adapted model has moved from its base on ordinary text."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from distmatch.losses.log_probs import log_probs_of

_CHUNK = 256  # rows whose log-probabilities exist at the same time


def retention_kl(
    logits: Float[Tensor, "rows vocab"], base_logits: Float[Tensor, "rows vocab"]
) -> Float[Tensor, " rows"]:
    """KL(base || adapted) of the next token at every row, over the full vocabulary.

    Rows go through in chunks whose log-probabilities are made again in the backward, so beyond
    the two logits themselves only one chunk's intermediates are held.

    Args:
        logits: The adapted model's, with gradient.
        base_logits: The base's at the same places, without gradient.

    Returns:
        One value a row, in nats.
    """
    chunks = zip(logits.split(_CHUNK), base_logits.split(_CHUNK), strict=True)
    return torch.cat(
        [checkpoint(_rows_kl, ours, base, use_reentrant=False) for ours, base in chunks]
    )


def _rows_kl(
    logits: Float[Tensor, "rows vocab"], base_logits: Float[Tensor, "rows vocab"]
) -> Float[Tensor, " rows"]:
    log_base = log_probs_of(base_logits)
    base = log_base.exp()
    log_ratio = torch.where(base > 0, log_base - log_probs_of(logits), 0.0)
    return (base * log_ratio).sum(-1)
