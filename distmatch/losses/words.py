"""Logits at the places that predict → exact log-probabilities of the words and of other.

At each row (the answer slot, or a node of an example's trie) the next token is one of three:
a child of the node; where a word ends, a token of its boundary set that is not a child; or
anything else, which leaves the words for good ("off"). These partition the vocabulary, so

    P(word)  = sum over forms of  prod of edges * P(boundary | end of the form)
    P(other) = sum over rows  of  P(reach row) * P(off | row)

sum to 1 without any subtraction. Padded vocabulary rows belong to off.

Axes: `rows` places that predict, `vocab` logits, `edges` trie edges, `paths` word forms, `batch`
examples, `words` words of an example (padded), `support` words and, last, other.

References:
    Pimentel and Meister, "How to Compute the Probability of a Word", EMNLP 2024.
    Oh and Schuler, "Leading Whitespaces of Language Models' Subword Vocabulary Pose a Confound
    for Calculating Word Probabilities", EMNLP 2024.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distmatch.losses.log_probs import log_probs_of


@runtime_checkable
class TrieIndex(Protocol):
    """The index tensors of a batch's tries; `distmatch.data.batching.Batch` describes each."""

    @property
    def row_path(self) -> Int[Tensor, "rows depth"]: ...  # noqa: D102
    @property
    def row_boundary(self) -> Int[Tensor, " rows"]: ...  # noqa: D102
    @property
    def edge_row(self) -> Int[Tensor, " edges"]: ...  # noqa: D102
    @property
    def edge_token(self) -> Int[Tensor, " edges"]: ...  # noqa: D102
    @property
    def path_edges(self) -> Int[Tensor, "paths length"]: ...  # noqa: D102
    @property
    def path_row(self) -> Int[Tensor, " paths"]: ...  # noqa: D102
    @property
    def word_paths(self) -> Int[Tensor, "batch words forms"]: ...  # noqa: D102
    @property
    def example_rows(self) -> Int[Tensor, "batch nodes"]: ...  # noqa: D102
    @property
    def boundary_sets(self) -> Bool[Tensor, "sets tokenizer_vocab"]: ...  # noqa: D102
    @property
    def is_word(self) -> Bool[Tensor, "batch words"]: ...  # noqa: D102


class WordLogProbs(NamedTuple):
    """Natural log-probabilities of each example's words and of everything else."""

    words: Float[Tensor, "batch words"]
    """-inf where an example has fewer words."""
    other: Float[Tensor, " batch"]


class _Rows(NamedTuple):
    """Log-probabilities of what may happen at each row."""

    edges: Float[Tensor, " edges"]
    boundary: Float[Tensor, " rows_and_one"]
    """Of a boundary token; 0 where no word ends and at the last, extra entry."""
    off: Float[Tensor, " rows"]
    reach: Float[Tensor, " rows"]
    is_off: Bool[Tensor, "rows vocab"]
    log_probs: Float[Tensor, "rows vocab"]


def word_log_probs(logits: Float[Tensor, "rows vocab"], trie: TrieIndex) -> WordLogProbs:
    """Exact log-probabilities of all words and of other.

    Args:
        logits: One row for each place that predicts, float32 or float64, any offset.
        trie: How rows, edges and words hang together.

    Returns:
        Values in nats, of the logits' dtype, none above 0: `exp` of an example's words and other
        sums to 1.
    """
    rows = _split_rows(logits, trie)
    return WordLogProbs(_at_most_0(_words(rows, trie)), _at_most_0(_other(rows, trie)))


def other_shape_kl(
    logits: Float[Tensor, "rows vocab"], base_logits: Float[Tensor, "rows vocab"], trie: TrieIndex
) -> Float[Tensor, " batch"]:
    """KL(base || model) of the way each example leaves its words, given that it does.

    The outcomes are all (row, token) pairs off the trie. Weighted by the target of other and
    added to the forward KL over words and other it is the KL over the full vocabulary from the
    target whose other has the base's shape (chain rule).

    Args:
        logits: The model's, with gradient.
        base_logits: The base's at the same rows, without gradient.
        trie: How rows, edges and words hang together.

    Returns:
        One value an example, in nats.
    """
    model, base = _split_rows(logits, trie), _split_rows(base_logits, trie)
    example = torch.zeros(logits.shape[0] + 1, dtype=torch.long, device=logits.device)
    numbers = torch.arange(len(trie.example_rows), device=logits.device)
    example[trie.example_rows] = numbers[:, None]
    example = example[:-1]
    base_other = _other(base, trie)[example]
    log_base = base.log_probs + (base.reach - base_other)[:, None]
    log_model = model.log_probs + (model.reach - _other(model, trie)[example])[:, None]
    weight = torch.where(base.is_off, log_base.exp(), 0.0)
    ratio = torch.where(weight > 0, log_base - log_model, 0.0)
    row_kl = (weight * ratio).sum(-1)
    return row_kl.new_zeros(len(numbers)).index_add(0, example, row_kl)


def support_log_probs(
    scores: WordLogProbs, is_free: Bool[Tensor, " batch"]
) -> Float[Tensor, "batch support"]:
    """Log-probabilities over words and, last, other.

    Where `is_free`, they are renormalised over the words and other gets -inf.
    """
    mass = _logsumexp(scores.words, torch.ones_like(scores.words, dtype=torch.bool))
    renormalised = scores.words - mass[:, None]
    words = torch.where(is_free[:, None], renormalised, scores.words)
    other = torch.where(is_free, -torch.inf, scores.other)
    return torch.cat([words, other[:, None]], dim=-1)


def _split_rows(logits: Float[Tensor, "rows vocab"], trie: TrieIndex) -> _Rows:
    log_probs = log_probs_of(logits)
    edges = log_probs[trie.edge_row, trie.edge_token]
    is_child = torch.zeros_like(log_probs, dtype=torch.bool)
    is_child[trie.edge_row, trie.edge_token] = True
    is_off = ~is_child
    boundary = log_probs.new_zeros(len(log_probs) + 1)
    ends = (trie.row_boundary >= 0).nonzero()[:, 0]
    if len(ends):
        members = _fit(trie.boundary_sets, log_probs.shape[-1])[trie.row_boundary[ends]]
        members = members & ~is_child[ends]
        boundary = boundary.index_put((ends,), _logsumexp(log_probs[ends], members))
        is_off[ends] &= ~members
    off = _logsumexp(log_probs, is_off)
    reach = _padded(edges, 0.0)[trie.row_path].sum(-1)
    return _Rows(edges, boundary, off, reach, is_off, log_probs)


def _words(rows: _Rows, trie: TrieIndex) -> Float[Tensor, "batch words"]:
    paths = _padded(rows.edges, 0.0)[trie.path_edges].sum(-1) + rows.boundary[trie.path_row]
    forms = _padded(paths, -torch.inf)[trie.word_paths]
    return _logsumexp(forms, torch.ones_like(forms, dtype=torch.bool))


def _other(rows: _Rows, trie: TrieIndex) -> Float[Tensor, " batch"]:
    leaving = _padded(rows.reach + rows.off, -torch.inf)[trie.example_rows]
    return _logsumexp(leaving, torch.ones_like(leaving, dtype=torch.bool))


def _at_most_0(log_probs: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Without what rounding leaves above it; the gradient stays."""
    return log_probs - log_probs.detach().clamp(min=0)


def _padded(values: Float[Tensor, " items"], fill: float) -> Float[Tensor, " items_and_one"]:
    return torch.cat([values, values.new_full((1,), fill)])


def _logsumexp(
    values: Float[Tensor, "*rows items"], mask: Bool[Tensor, "*rows items"]
) -> Float[Tensor, "*rows"]:
    """Logsumexp of the values under the mask; -inf without a gradient where all is impossible."""
    is_possible = mask & ~values.isneginf()
    none = ~is_possible.any(-1)
    # torch's own logsumexp of -inf alone has a nan gradient.
    filled = torch.where(is_possible, values, torch.where(none, 0.0, -torch.inf)[..., None])
    return torch.where(none, -torch.inf, filled.logsumexp(-1))


def _fit(sets: Bool[Tensor, "sets tokenizer_vocab"], vocab: int) -> Bool[Tensor, "sets vocab"]:
    """The sets over the head's rows, which may be padded beyond the tokenizer's ids."""
    missing = vocab - sets.shape[-1]
    return torch.nn.functional.pad(sets, (0, missing)) if missing > 0 else sets[:, :vocab]
