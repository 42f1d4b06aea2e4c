"""Tries → one batch of tensors: packed token trees, the rows that predict, the words' edges.

All prompts and words of a batch are laid into a few rows (`packing`), in which tokens stand in
preorder, so a token's subtree is the range from it to its `ends`, and "j is an ancestor of i" is
`j <= i < ends[j]` (`models/attention.py` makes the mask of it).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distmatch.data.packing import (
    PACK_TOKENS,
    add_texts,
    lay_out,
    packed_sequences,
    packed_tries,
)
from distmatch.data.trie import Encoder, TokenIds, TokenTrie

T = TypeVar("T", bound="TreeBatch")
Item = TypeVar("Item")


def in_batches(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in their order, so many at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]


@dataclass(frozen=True)
class TreeBatch:
    """Sequences as packed prefix trees, and the places that predict ("rows")."""

    ids: Int[Tensor, "packs tokens"]
    depths: Int[Tensor, "packs tokens"]
    """Tokens before this one in its sequence: its position id."""
    ends: Int[Tensor, "packs tokens"]
    """One past the last token of the subtree that starts here, as an index into the pack."""
    row_tokens: Int[Tensor, " rows"]
    """The token each row predicts after, as an index into the flattened packs."""
    example_rows: Int[Tensor, "batch nodes"]
    """The rows of each example, an ancestor of the others first; padded with the number of rows."""

    def to(self: T, device: torch.device | str) -> T:
        """The batch on another device."""
        return type(self)(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True)
class Batch(TreeBatch):
    """Examples as tensors. Its rows are the slots and nodes of all tries."""

    row_path: Int[Tensor, "rows depth"]
    """The edges from the slot to this row; padded with the number of edges."""
    row_boundary: Int[Tensor, " rows"]
    """Which boundary set may follow here; -1 where no word ends."""
    edge_row: Int[Tensor, " edges"]
    edge_token: Int[Tensor, " edges"]
    path_edges: Int[Tensor, "paths length"]
    """The edges of each word form; padded with the number of edges."""
    path_row: Int[Tensor, " paths"]
    """The row at each form's end; the number of rows where nothing must follow."""
    word_paths: Int[Tensor, "batch words forms"]
    """The paths of each word; padded with the number of paths."""
    boundary_sets: Bool[Tensor, "sets tokenizer_vocab"]
    target: Float[Tensor, "batch support"]
    """Wanted probability of each word and, last, of other; padded words have 0."""
    is_word: Bool[Tensor, "batch words"]
    is_free: Bool[Tensor, " batch"]
    """Examples matched after renormalising over their words."""
    preserve: Float[Tensor, " batch"]
    """Weight of keeping the base's shape on other: the target of other under "preserve", else 0."""
    text_tokens: Int[Tensor, " text_rows"]
    """The tokens of accompanying texts that predict the next, as `row_tokens`; text after text."""

    @property
    def num_examples(self) -> int:
        """How many examples the batch holds."""
        return self.target.shape[0]


class _Numbered:
    """Rows, edges, paths and words under construction, numbered in the order they are added."""

    def __init__(self) -> None:
        self.edges: list[tuple[int, int]] = []
        self.row_paths: list[list[int]] = []
        self.row_boundary: list[int] = []
        self.path_edges: list[list[int]] = []
        self.path_rows: list[int | None] = []
        self.word_paths: list[list[list[int]]] = []
        self.example_rows: list[list[int]] = []

    def add(self, trie: TokenTrie, boundaries: list[str]) -> None:
        """Number what an example has."""
        row_of = {node: len(self.row_paths) + k for k, node in enumerate(trie.nodes)}
        edge_of = self._add_edges(trie, row_of)
        complete = set() if trie.boundary == "none" else set(trie.all_paths)
        for node in row_of:
            self.row_paths.append([edge_of[node[:length]] for length in range(1, len(node) + 1)])
            self.row_boundary.append(boundaries.index(trie.boundary) if node in complete else -1)
        words: list[list[int]] = []
        for forms in trie.paths:
            words.append([len(self.path_edges) + k for k in range(len(forms))])
            for path in forms:
                self.path_edges.append([edge_of[path[: k + 1]] for k in range(len(path))])
                self.path_rows.append(row_of[path] if path in complete else None)
        self.word_paths.append(words)
        self.example_rows.append(list(row_of.values()))

    def _add_edges(self, trie: TokenTrie, row_of: dict[TokenIds, int]) -> dict[TokenIds, int]:
        """The number of the edge that leads to each place behind the slot."""
        edge_of: dict[TokenIds, int] = {}
        for path in trie.all_paths:
            for length in range(1, len(path) + 1):
                if path[:length] not in edge_of:
                    edge_of[path[:length]] = len(self.edges)
                    self.edges.append((row_of[path[: length - 1]], path[length - 1]))
        return edge_of

    def tensors(self) -> dict[str, Tensor]:
        """All of it, as `Batch` has it."""
        num_rows, num_edges = len(self.row_paths), len(self.edges)
        path_row = [num_rows if row is None else row for row in self.path_rows]
        return {
            "row_path": _padded(self.row_paths, num_edges),
            "row_boundary": torch.tensor(self.row_boundary, dtype=torch.long),
            "edge_row": torch.tensor([row for row, _ in self.edges], dtype=torch.long),
            "edge_token": torch.tensor([token for _, token in self.edges], dtype=torch.long),
            "path_edges": _padded(self.path_edges, num_edges),
            "path_row": torch.tensor(path_row, dtype=torch.long),
            "word_paths": _padded_words(self.word_paths, len(self.path_edges)),
            "example_rows": _padded(self.example_rows, num_rows),
        }


def make_batch(
    tries: Sequence[TokenTrie],
    encoder: Encoder,
    pack_tokens: int = PACK_TOKENS,
    *,
    texts: Sequence[TokenIds] = (),
) -> Batch:
    """The batch of some tries; their order is kept in everything indexed by example.

    Args:
        tries: What `encoder` made; none at all gives a batch of zero examples.
        encoder: Knows the boundary sets.
        pack_tokens: The most tokens of a pack, except where one example alone has more, or what it
            shares with the others is worth it. Larger packs share more and pad less, and pay with
            attention over more masked tokens.
        texts: Ordinary ones that accompany the examples, token ids of each, two or more.
    """
    packs, placed = packed_tries(tries, pack_tokens)
    texts_placed = add_texts(packs, texts, pack_tokens)
    ids, depths, ends, index_of = lay_out(packs)
    text_tokens = [index_of[pack][node] for pack, nodes in texts_placed for node in nodes]
    boundaries = sorted({trie.boundary for trie in tries} - {"none"})
    sets = [encoder.boundary_set(boundary) for boundary in boundaries]
    return Batch(
        ids=ids,
        depths=depths,
        ends=ends,
        **_words(tries, [[index_of[p][n] for n in nodes] for p, nodes in placed], boundaries),
        **_targets(tries),
        boundary_sets=torch.stack(sets) if sets else torch.zeros(0, 0, dtype=torch.bool),
        text_tokens=torch.tensor(text_tokens, dtype=torch.long),
    )


def make_text_batch(texts: Sequence[TokenIds], pack_tokens: int = PACK_TOKENS) -> TreeBatch:
    """Ordinary texts as one batch that predicts after every token but each text's last.

    Args:
        texts: Token ids of each text, two or more.
        pack_tokens: As in `make_batch`.
    """
    return _sequence_batch([text[:-1] for text in texts], 0, pack_tokens)


def make_next_batch(sequences: Sequence[TokenIds], pack_tokens: int = PACK_TOKENS) -> TreeBatch:
    """Sequences as one batch that predicts what follows each of them; rows in their order.

    Args:
        sequences: Token ids of each, one or more. Neighbours with a common beginning are cheap.
        pack_tokens: As in `make_batch`.
    """
    return _sequence_batch(sequences, -1, pack_tokens)


def _sequence_batch(sequences: Sequence[TokenIds], first: int, pack_tokens: int) -> TreeBatch:
    """Sequences as packed trees, with a row at every token of each from the first on."""
    packs, placed = packed_sequences(sequences, first, pack_tokens)
    ids, depths, ends, index_of = lay_out(packs)
    rows = [index_of[pack][node] for pack, nodes in placed for node in nodes]
    starts = accumulate((len(nodes) for _, nodes in placed), initial=0)
    spans = [list(range(s, s + len(n))) for s, (_, n) in zip(starts, placed, strict=False)]
    row_tokens = torch.tensor(rows, dtype=torch.long)
    return TreeBatch(ids, depths, ends, row_tokens, _padded(spans, len(rows)))


def _words(
    tries: Sequence[TokenTrie], row_tokens: list[list[int]], boundaries: list[str]
) -> dict[str, Tensor]:
    """Rows, edges, paths and words of all examples, numbered through the batch."""
    numbered = _Numbered()
    for trie in tries:
        numbered.add(trie, boundaries)
    flat_tokens = [token for tokens in row_tokens for token in tokens]
    return {"row_tokens": torch.tensor(flat_tokens, dtype=torch.long), **numbered.tensors()}


def _targets(tries: Sequence[TokenTrie]) -> dict[str, Tensor]:
    num_words = max((len(trie.target.words) for trie in tries), default=0)
    target = torch.zeros(len(tries), num_words + 1, dtype=torch.float32)
    for row, trie in enumerate(tries):
        target[row, : len(trie.target.probs)] = torch.tensor(trie.target.probs, dtype=torch.float32)
        target[row, -1] = trie.target.other_prob
    counts = torch.tensor([len(trie.target.words) for trie in tries], dtype=torch.long)
    preserved = [t.target.other_prob if t.target.other == "preserve" else 0.0 for t in tries]
    return {
        "target": target,
        "is_word": torch.arange(num_words) < counts[:, None],
        "is_free": torch.tensor([t.target.other == "free" for t in tries], dtype=torch.bool),
        "preserve": torch.tensor(preserved, dtype=torch.float32),
    }


def _padded(lists: Sequence[Sequence[int]], fill: int) -> Int[Tensor, "lists width"]:
    width = max(map(len, lists), default=0)
    padded = [[*items, *[fill] * (width - len(items))] for items in lists]
    return torch.tensor(padded, dtype=torch.long).reshape(len(lists), width)


def _padded_words(
    words: Sequence[Sequence[Sequence[int]]], fill: int
) -> Int[Tensor, "batch words forms"]:
    num_words = max(map(len, words), default=0)
    num_forms = max((len(forms) for example in words for forms in example), default=0)
    padded = torch.full((len(words), num_words, num_forms), fill, dtype=torch.long)
    for row, example in enumerate(words):
        for column, forms in enumerate(example):
            padded[row, column, : len(forms)] = torch.tensor(forms, dtype=torch.long)
    return padded
