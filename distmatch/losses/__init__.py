"""Tensors in, tensors out: no model, tokenizer or file."""

from distmatch.losses.divergences import (
    DIVERGENCES,
    Divergence,
    forward_kl,
    jensen_shannon,
    reverse_kl,
    skew_kl,
    total_variation,
    wasserstein1,
)
from distmatch.losses.retention import retention_kl
from distmatch.losses.words import (
    WordLogProbs,
    other_shape_kl,
    support_log_probs,
    word_log_probs,
)

__all__ = [
    "DIVERGENCES",
    "Divergence",
    "WordLogProbs",
    "forward_kl",
    "jensen_shannon",
    "other_shape_kl",
    "retention_kl",
    "reverse_kl",
    "skew_kl",
    "support_log_probs",
    "total_variation",
    "wasserstein1",
    "word_log_probs",
]
