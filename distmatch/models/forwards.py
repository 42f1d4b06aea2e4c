"""Ways to run packed token trees: one masked forward, a KV cache, or plain sequences.

All give the same logits where a model takes them; `models/proof.py` finds out which it does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from distmatch.models.attention import Tree, tree_inputs
from distmatch.models.head import predicting_rows, unwrapped

_MOST_TOKENS = 4096  # of plain sequences in a forward

Logits = Float[Tensor, "rows vocab"]


@runtime_checkable
class PackedTrees(Protocol):
    """Trees and the places that predict; `distmatch.data.batching.TreeBatch` describes each."""

    @property
    def ids(self) -> Int[Tensor, "packs tokens"]: ...  # noqa: D102
    @property
    def depths(self) -> Int[Tensor, "packs tokens"]: ...  # noqa: D102
    @property
    def ends(self) -> Int[Tensor, "packs tokens"]: ...  # noqa: D102
    @property
    def row_tokens(self) -> Int[Tensor, " rows"]: ...  # noqa: D102
    @property
    def example_rows(self) -> Int[Tensor, "batch nodes"]: ...  # noqa: D102


Forward = Callable[[nn.Module, PackedTrees], Logits]


def packed_logits(model: nn.Module, trees: PackedTrees) -> Logits:
    """Everything in one forward, each token seeing its ancestors alone."""
    tree = Tree(trees.ids, trees.depths, trees.ends)
    with predicting_rows(model, trees.row_tokens):
        return model(**tree_inputs(unwrapped(model), tree)).logits


def cached_logits(model: nn.Module, trees: PackedTrees) -> Logits:
    """One example at a time: its first row's sequence into a cache, the others' continuing it."""
    num_rows = len(trees.row_tokens)
    logits: list[Tensor] = []
    order: list[int] = []
    for rows in trees.example_rows.tolist():
        rows = [row for row in rows if row < num_rows]
        paths = [_path(trees, token) for token in trees.row_tokens[rows].tolist()]
        logits.extend(_example_logits(model, trees.ids.flatten(), paths))
        order.extend(rows)
    place = torch.tensor(order, device=trees.ids.device).argsort()
    return torch.cat(logits)[place]


def plain_logits(model: nn.Module, trees: PackedTrees) -> Logits:
    """Every sequence by itself from its first token, only those of equal length together.

    Every causal language model takes it, with gradient, and nothing is ever padded.
    """
    flat = trees.ids.flatten()
    tokens = trees.row_tokens.tolist()
    predicting = set(tokens)
    leaves = _leaves([_path(trees, token) for token in tokens])
    logits: list[Tensor] = []
    found: dict[int, int] = {}  # the row of `logits` that predicts after a token
    for some in _of_equal_length(leaves):
        length, places = len(some[0]), []
        for number, leaf in enumerate(some):
            for depth, token in enumerate(leaf):
                if token in predicting and token not in found:
                    found[token] = len(found)
                    places.append(number * length + depth)
        with predicting_rows(model, torch.tensor(places, device=flat.device)):
            ids = flat[torch.tensor(some, device=flat.device)]
            logits.append(model(input_ids=ids, use_cache=False).logits)
    return torch.cat(logits)[[found[token] for token in tokens]]


FORWARDS: dict[str, Forward] = {
    "tree": packed_logits,
    "cache": cached_logits,
    "plain": plain_logits,
}
"""The fastest first."""


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Inside, every module is in evaluation mode; afterwards each in its own again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, is_training in modes.items():
            module.training = is_training


def _path(trees: PackedTrees, token: int) -> list[int]:
    """Flat indices of the sequence that ends in a token, itself included."""
    pack, place = divmod(token, trees.ids.shape[1])
    ends = trees.ends[pack, : place + 1]
    return ((ends > place).nonzero()[:, 0] + pack * trees.ids.shape[1]).tolist()


def _leaves(paths: Sequence[list[int]]) -> list[list[int]]:
    """The paths that no other goes on from, each once."""
    passed = {token for path in paths for token in path[:-1]}
    return list({path[-1]: path for path in paths if path[-1] not in passed}.values())


def _of_equal_length(paths: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    for length, group in groupby(sorted(paths, key=len), len):
        equal = list(group)
        size = max(1, _MOST_TOKENS // length)
        yield from (equal[start : start + size] for start in range(0, len(equal), size))


class _Branches(NamedTuple):
    """Sequences that go on from a prompt, the longest ones and where the others end in them."""

    leaves: list[list[int]]
    places: list[int]

    @classmethod
    def of(cls, nodes: Sequence[list[int]]) -> "_Branches":
        leaves = _leaves(nodes)
        longest = max(map(len, leaves))
        place_of = {
            token: number * longest + depth
            for number, leaf in enumerate(leaves)
            for depth, token in enumerate(leaf)
        }
        padded = [leaf + [leaf[-1]] * (longest - len(leaf)) for leaf in leaves]
        return cls(padded, [place_of[node[-1]] for node in nodes])


def _example_logits(
    model: nn.Module, ids: Int[Tensor, " tokens"], paths: Sequence[list[int]]
) -> list[Tensor]:
    """Logits of an example's rows: of the first's path, and of those that continue it."""
    prompt, nodes = paths[0], [path[len(paths[0]) :] for path in paths[1:]]
    cache = DynamicCache(config=unwrapped(model).config)  # type: ignore[arg-type]
    with predicting_rows(model, torch.tensor([len(prompt) - 1], device=ids.device)):
        slot = model(input_ids=ids[prompt][None], cache=cache, use_cache=True).logits
    if not nodes:
        return [slot]
    branches = _Branches.of(nodes)
    leaves = torch.tensor(branches.leaves, device=ids.device)
    cache.batch_repeat_interleave(len(leaves))
    with predicting_rows(model, torch.tensor(branches.places, device=ids.device)):
        continued = model(input_ids=ids[leaves], cache=cache, use_cache=True).logits
    return [slot, continued]
