"""Token sequences → packs: a few rows, each the prefix tree of what is in it.

What sequences share at their beginning is fed once. Rows are padded to the widest, and attention is
over all tokens of a row, masked; so packs are kept small and even, but where sharing pays for more.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from distmatch.data.trie import TokenIds, TokenTrie

PACK_TOKENS = 512
_SLACK = 1.1  # lets a group of examples with a common beginning end in the pack it began in


class Pack:
    """One prefix tree under construction; nodes are numbered in the order they are added."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.children: list[dict[int, int]] = [{}]  # of node i at i + 1; the root's come first

    def missing(self, sequence: TokenIds) -> int:
        """How many tokens of the sequence aren't in the tree yet."""
        node = -1
        for count, token in enumerate(sequence):
            if token not in self.children[node + 1]:
                return len(sequence) - count
            node = self.children[node + 1][token]
        return 0

    def takes(self, num_new: int, length: int, pack_tokens: int, *, over: bool) -> bool:
        """Whether there is room for a sequence; or, over it, whether most of it is here already.

        Elsewhere it would be fed whole, and attention be a square of its own; here the square
        grows, also over what isn't its own.

        Args:
            num_new: Its tokens that aren't here.
            length: All of them.
            pack_tokens: Up to so many there is room; and a token that needn't be fed is worth
                attention over so many others.
            over: Whether the second counts.
        """
        size = len(self.tokens)
        elsewhere = length**2 + pack_tokens * (length - num_new)
        is_worth_it = over and (size + num_new) ** 2 - size**2 <= elsewhere
        return size + num_new <= pack_tokens or is_worth_it

    def add(self, sequence: TokenIds, node: int = -1) -> int:
        """The node of the sequence's last token, starting below a given node."""
        for token in sequence:
            children = self.children[node + 1]
            if token not in children:
                children[token] = len(self.tokens)
                self.tokens.append(token)
                self.children.append({})
            node = children[token]
        return node

    def preorder(self) -> tuple[list[int], list[int], list[int]]:
        """The nodes in preorder, and along it their depths and their subtrees' ends."""
        order: list[int] = []
        depths: list[int] = []
        stack = [(node, 0) for node in reversed(self.children[0].values())]
        while stack:
            node, depth = stack.pop()
            order.append(node)
            depths.append(depth)
            stack.extend((child, depth + 1) for child in reversed(self.children[node + 1].values()))
        ends = [len(order)] * len(order)
        open_nodes: list[int] = []
        for index, depth in enumerate(depths):
            while open_nodes and depths[open_nodes[-1]] >= depth:
                ends[open_nodes.pop()] = index
            open_nodes.append(index)
        return order, depths, ends


Packed = tuple[list[Pack], list[tuple[int, list[int]]]]
"""Packs; and of each sequence which it is in, and nodes of it."""


def packed_tries(tries: Sequence[TokenTrie], pack_tokens: int) -> Packed:
    """Tries in packs, and of each trie the nodes its predicting rows stand at.

    Args:
        tries: In any order; neighbours in a pack are those that begin alike.
        pack_tokens: The most tokens of a pack, where sharing doesn't pay for more.
    """
    return _cheaper(partial(_evenly, tries, pack_tokens), pack_tokens)


def packed_sequences(sequences: Sequence[TokenIds], first: int, pack_tokens: int) -> Packed:
    """Sequences in packs, in their order, and of each the nodes of its tokens.

    Args:
        sequences: Token ids of each.
        first: The first token whose node is wanted.
        pack_tokens: As in `packed_tries`.
    """
    return _cheaper(partial(_in_a_row, sequences, first, pack_tokens), pack_tokens)


def add_texts(
    packs: list[Pack], texts: Sequence[TokenIds], pack_tokens: int
) -> list[tuple[int, list[int]]]:
    """Each text's pack, and the nodes of all tokens but its last.

    It is the emptiest or a new one, whichever leaves less to be padded; up to two packs' tokens,
    or one beside what the examples take.

    Args:
        packs: Of the examples; new ones come behind them.
        texts: Token ids of each, two or more.
        pack_tokens: As in `packed_tries`.
    """
    placed = []
    most = pack_tokens + max([pack_tokens, *(len(pack.tokens) for pack in packs)])
    for text in texts:
        sizes = [len(pack.tokens) for pack in packs]
        length, width = len(text) - 1, max(sizes, default=0)
        which = sizes.index(min(sizes)) if sizes else 0
        joined = len(sizes) * max(width, min(sizes, default=0) + length)
        apart = (len(sizes) + 1) * max(width, length)
        if joined > apart or not sizes or sizes[which] + length > most:
            which = len(packs)
            packs.append(Pack())
        nodes = [packs[which].add(text[:1])]
        for token in text[1:-1]:
            nodes.append(packs[which].add((token,), nodes[-1]))
        placed.append((which, nodes))
    return placed


def lay_out(packs: list[Pack]) -> tuple[Tensor, Tensor, Tensor, list[dict[int, int]]]:
    """Ids, depths, ends, and for each pack where its nodes stand in the flattened packs."""
    width = max((len(pack.tokens) for pack in packs), default=0)
    ids = torch.zeros(len(packs), width, dtype=torch.long)
    depths = torch.zeros_like(ids)
    ends = torch.arange(1, width + 1).repeat(len(packs), 1)  # padding sees itself alone
    index_of = []
    for row, pack in enumerate(packs):
        order, pack_depths, pack_ends = pack.preorder()
        size = len(order)
        ids[row, :size] = torch.tensor([pack.tokens[node] for node in order])
        depths[row, :size] = torch.tensor(pack_depths)
        ends[row, :size] = torch.tensor(pack_ends)
        index_of.append({node: row * width + index for index, node in enumerate(order)})
    return ids, depths, ends, index_of


def _cheaper(fill: Callable[[bool], Packed], pack_tokens: int) -> Packed:
    """Packs with as much room as they have, or filled over it, whichever costs less.

    All are padded to the widest, so what is good for one pack may not be for all of them.
    """

    def cost(packed: Packed) -> int:
        width = max(len(pack.tokens) for pack in packed[0])
        return len(packed[0]) * (width**2 + pack_tokens * width)

    within = fill(False)
    return within if len(within[0]) < 2 else min(within, fill(True), key=cost)


def _in_a_row(sequences: Sequence[TokenIds], first: int, pack_tokens: int, over: bool) -> Packed:
    """Sequences in their order, and of each the nodes from its first on."""
    packs: list[Pack] = []
    placed: list[tuple[int, list[int]]] = []
    for sequence in sequences:
        length = len(sequence)
        if not packs or not packs[-1].takes(
            packs[-1].missing(sequence), length, pack_tokens, over=over
        ):
            packs.append(Pack())
        node, nodes = -1, []
        for token in sequence:
            node = packs[-1].add((token,), node)
            nodes.append(node)
        placed.append((len(packs) - 1, nodes[first:]))
    return packs, placed


def _evenly(tries: Sequence[TokenTrie], pack_tokens: int, over: bool) -> Packed:
    """Packs of like width: all rows are as wide as the widest, so even ones waste least."""
    packs, placed = _fill(tries, pack_tokens, over)
    if len(packs) < 2:
        return packs, placed
    even = sum(len(pack.tokens) for pack in packs) / len(packs)
    return _fill(tries, min(pack_tokens, math.ceil(_SLACK * even)), over)


def _fill(tries: Sequence[TokenTrie], pack_tokens: int, over: bool) -> Packed:
    """The packs, and for each trie its pack and the nodes its predicting rows stand at."""
    packs: list[Pack] = []
    placed: dict[int, tuple[int, list[int]]] = {}
    for which in sorted(range(len(tries)), key=lambda i: tries[i].prompt_ids):
        trie = tries[which]
        nodes, prompt_ids = trie.nodes, trie.prompt_ids
        more = len(nodes) - 1  # besides the prompt
        if not packs or not packs[-1].takes(
            packs[-1].missing(prompt_ids) + more, len(prompt_ids) + more, pack_tokens, over=over
        ):
            packs.append(Pack())
        slot = packs[-1].add(prompt_ids)
        placed[which] = (len(packs) - 1, [packs[-1].add(node, slot) for node in nodes])
    return packs, [placed[i] for i in range(len(tries))]
