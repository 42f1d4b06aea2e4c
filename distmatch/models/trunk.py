"""States that enter the lowest adapted block: computed once, kept, and never computed again.

Nothing below that block ever changes: the base stays in evaluation mode, and no gradient goes
there. A token's state depends on its sequence alone, so states are found by token ids, however
sequences are packed into batches, and what trees share at their beginning is kept once. They are
computed one block and one tree at a time, so they are the same to the bit whatever is asked of them
later, and whichever block they were raised from.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float, Int
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from distmatch.errors import ConfigError
from distmatch.models.attention import Tree, tree_inputs
from distmatch.models.blocks import decoder_blocks
from distmatch.models.head import replaced, unwrapped
from distmatch.models.proof import forward_way
from distmatch.progress import phase

_ALIGNMENT = 64  # bytes; where values begin in a file
_FILE_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16"} | {
    torch.float16: "F16"
}


class _Kept(NamedTuple):
    """A tree, and where the states of its tokens are."""

    tree: Tree
    rows: Int[Tensor, " tokens"]
    own: Int[Tensor, " own"]  # places of the tokens that no tree before it has


class Trunk:
    """The states that enter one block of a model, of every token of some trees.

    Args:
        model: A causal language model, without an adapter or with one at `block` and above.
        trees: Of one pack each, read when states are first computed. What several begin with is
            computed in the first of them.
        folder: Where states go, a file for each precision, that would take more than `most_bytes`.
        most_bytes: Of the states of all precisions together, kept in memory.
        mixed: Autocast's precision, where forwards are to be served under it too; each has states
            of its own.
        is_fixed: Whether adapters below the block are part of what is kept, since nobody changes
            them, nor how far they are switched on, as long as states are used.
        progress: With a progress bar.

    Raises:
        ConfigError: The model's blocks are called in a way that can't be cut short.
    """

    def __init__(
        self,
        model: nn.Module,
        trees: Iterable[Tree],
        *,
        folder: str | Path | None = None,
        most_bytes: int = 4_000_000_000,
        mixed: torch.dtype | None = None,
        is_fixed: bool = False,
        progress: bool = True,
    ) -> None:
        """Nothing is computed yet: the states enter the first block."""
        self.model: Any = unwrapped(model)
        if isinstance(self.model, PeftModel):
            self.model = self.model.get_base_model()
        self.block = 0
        self._blocks = list(decoder_blocks(self.model).values())
        self._trees = trees
        self._folder = None if folder is None else Path(folder)
        self._most_bytes = most_bytes
        self._is_fixed = is_fixed
        self._progress = progress
        self._states: dict[torch.dtype | None, Tensor] = {}
        self._precisions = (None,) if mixed is None else (None, mixed)

    @property
    def below(self) -> Sequence[nn.Module]:
        """The blocks that needn't be run, since states are kept of what they give."""
        return self._blocks[: self.block]

    @torch.no_grad()
    def raise_to(self, block: int) -> None:
        """Let the states be those that enter a higher block, each computed on from where it is.

        They are written where those below were. After an error, none are kept: every forward runs
        all blocks, and the next raise starts from the first.

        Args:
            block: Its number, of all blocks of the decoder.

        Raises:
            ConfigError: There is no such block, one below it has an adapter, or the model takes no
                trees (`models.proof`); states stay as they were.
        """
        if why := forward_way(self.model).refused.get("tree"):
            raise ConfigError(f"states can't be kept, as the model takes no tree: {why}")
        if not 0 <= block < len(self._blocks):
            raise ConfigError(
                f"block {block} does not exist: this {type(self.model).__name__} has "
                f"{len(self._blocks)}, numbered 0-{len(self._blocks) - 1}"
            )
        self._refuse_adapters(block)
        if block < self.block:
            self._forget(self.block)
        if block == self.block:
            return
        start, self.block = self.block, 0  # a raise cut short leaves states that nothing may use
        try:
            for precision in self._precisions:
                self._rename_file(precision, start, None)
                self._raise(precision, range(start, block))
                self._rename_file(precision, None, block)
        except BaseException:
            self._forget(start, None, block)
            raise
        self.block = block

    def _raise(self, precision: torch.dtype | None, blocks: range) -> None:
        device = self.model.device
        trees, _ = self._layout
        name = f"states up to block {blocks.stop}" + (f", {_name(precision)}" if precision else "")
        with phase(name, len(blocks) * len(trees), shown=self._progress) as raising:
            for number in blocks:
                entering = self._states.get(precision)
                with torch.autocast(device.type, precision, enabled=precision is not None):
                    # A tree begins with states of trees before it: they are the last to change.
                    for kept in reversed(trees):
                        given = None if entering is None else entering[kept.rows][None].to(device)
                        with _begun_with(self._blocks[:number], partial(_identity, given)):
                            leaving = _reached(self.model, self._blocks[number + 1], kept.tree)
                        room = self._room(precision, leaving.shape[-1], leaving.dtype)
                        room[kept.rows[kept.own]] = leaving[0, kept.own].to(room.device)
                        raising.advance()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, `scoring` leaves out the blocks below wherever all states are kept.

        Raises:
            ConfigError: Another trunk is installed on the model.
        """
        place = _place(self.model)
        if place in _INSTALLED:
            raise ConfigError("another trunk is installed on this model: leave its context first")
        _INSTALLED[place] = self
        try:
            yield
        finally:
            del _INSTALLED[place]

    @contextmanager
    def beneath(self, tree: Tree) -> Iterator[bool]:
        """Inside, a forward on this batch begins at the block, if all its states are kept.

        One under an autocast for which none are kept runs all blocks.

        Args:
            tree: Of any number of packs.

        Yields:
            Whether they are kept.

        Raises:
            ConfigError: A block below has an adapter, which the states know nothing of.
        """
        self._refuse_adapters(self.block)
        rows = self._rows(tree) if self.block else None
        if rows is None:
            yield False
            return

        @cache
        def gathered(precision: torch.dtype | None) -> Tensor | None:
            there = self._states.get(precision)
            return None if there is None else there[rows].to(tree.ids.device)

        with _begun_with(self.below, lambda: gathered(self._precision_now())):
            yield True

    def _rows(self, tree: Tree) -> Int[Tensor, "packs tokens"] | None:
        """Where the states of all tokens are; None if one isn't kept."""
        _, row_of = self._layout
        found = []
        for ids, depths in zip(tree.ids.tolist(), tree.depths.tolist(), strict=True):
            path: list[int] = []
            for token, depth in zip(ids, depths, strict=True):
                del path[depth:]
                row = row_of.get((path[-1] if path else -1, token))
                if row is None:
                    return None
                path.append(row)
                found.append(row)
        return torch.tensor(found).reshape(tree.ids.shape)

    @cached_property
    def _layout(self) -> tuple[list[_Kept], dict[tuple[int, int], int]]:
        padding = torch.zeros(1, 1, dtype=torch.long)
        return _laid_out([Tree(padding, padding, padding + 1), *self._trees])

    def _refuse_adapters(self, block: int) -> None:
        if self._is_fixed:
            return
        for number, below in enumerate(self._blocks[:block]):
            if any(isinstance(module, BaseTunerLayer) for module in below.modules()):
                raise ConfigError(
                    f"block {number} has an adapter, and states are kept up to block {block}, as "
                    f"without one: raise_to({number}) before it is attached"
                )

    def _precision_now(self) -> torch.dtype | None:
        """Autocast's on the model's device; None without."""
        device = self.model.device.type
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None

    def _room(
        self, precision: torch.dtype | None, hidden: int, dtype: torch.dtype
    ) -> Float[Tensor, "rows hidden"]:
        """Where states go: where those below are, unless a block returns another precision."""
        room = self._states.get(precision)
        if room is None or room.dtype != dtype:
            shape = (len(self._layout[1]), hidden)
            num_bytes = shape[0] * shape[1] * dtype.itemsize
            num_bytes += sum(s.nbytes for other, s in self._states.items() if other != precision)
            if self._folder is None or num_bytes <= self._most_bytes:
                room = torch.empty(shape, dtype=dtype)
            else:
                room = _mapped(_file(self._folder, None, precision), shape, dtype)
            self._states[precision] = room
        return room

    def _rename_file(self, precision: torch.dtype | None, old: int | None, new: int | None) -> None:
        if self._folder is not None and _file(self._folder, old, precision).exists():
            _file(self._folder, old, precision).rename(_file(self._folder, new, precision))

    def _forget(self, *blocks: int | None) -> None:
        """Keep no states, and no file of those that enter these blocks."""
        self._states, self.block = {}, 0
        if self._folder is not None:
            for block, precision in product(blocks, self._precisions):
                _file(self._folder, block, precision).unlink(missing_ok=True)


def most_apart(dtype: torch.dtype) -> float:
    """By how much logits may differ, relative, with kept states: half of a precision's digits.

    Args:
        dtype: In which blocks are computed.
    """
    return math.sqrt(torch.finfo(dtype).eps)


def installed_trunk(model: nn.Module) -> Trunk | None:
    """The trunk that serves the model's forwards now."""
    return _INSTALLED.get(_place(model))


_INSTALLED: WeakKeyDictionary[nn.Module, Trunk] = WeakKeyDictionary()


def _place(model: nn.Module) -> nn.Module:
    """What is the same module with and without adapters."""
    return unwrapped(model).get_input_embeddings()  # type: ignore[operator]


class _ReachedError(Exception):
    """Ends a forward at a block; carries what enters it."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def _reached(model: Any, block: nn.Module, tree: Tree) -> Float[Tensor, "packs tokens hidden"]:
    """What enters a block; nothing from there on is computed."""
    moved = Tree(*(part.to(model.device) for part in tree))
    with replaced(block, _stop):
        try:
            model(**tree_inputs(model, moved))
        except _ReachedError as end:
            return end.states
    raise ConfigError(f"states can't be kept: {type(model).__name__} passes its blocks by")


def _stop(states: Tensor, *_args: Any, **_kwargs: Any) -> None:
    raise _ReachedError(states)


@contextmanager
def _begun_with(blocks: Sequence[Any], states: Callable[[], Tensor | None]) -> Iterator[None]:
    """Inside, if there are states, the blocks compute nothing, and what leaves them are those.

    They are asked for in the forward itself, where autocast is as the blocks would see it.
    """
    with ExitStack() as stack:
        for block in blocks:
            is_last = block is blocks[-1]
            forward = partial(_instead, block.forward, states, is_last)
            stack.enter_context(replaced(block, forward))
        yield


def _instead(
    own: Callable[..., Any],
    states: Callable[[], Tensor | None],
    is_last: bool,
    entering: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Any:
    given = states()
    if given is None:
        return own(entering, *args, **kwargs)
    return given if is_last else entering


def _identity(states: Tensor | None) -> Tensor | None:
    return states


def _laid_out(trees: Iterable[Tree]) -> tuple[list[_Kept], dict[tuple[int, int], int]]:
    """One row for each sequence of tokens that trees begin with: that of its last token.

    Returns:
        The trees that have some of their own, and of each token the row, by the row of the token
        before it (-1: none) and its id.
    """
    row_of: dict[tuple[int, int], int] = {}
    trees_with_own: list[_Kept] = []
    for tree in trees:
        path: list[int] = []
        rows: list[int] = []
        own: list[int] = []
        for place, (token, depth) in enumerate(
            zip(tree.ids[0].tolist(), tree.depths[0].tolist(), strict=True)
        ):
            del path[depth:]
            before = len(row_of)
            path.append(row_of.setdefault((path[-1] if path else -1, token), before))
            rows.append(path[-1])
            if path[-1] == before:
                own.append(place)
        if own:
            trees_with_own.append(_Kept(tree, torch.tensor(rows), torch.tensor(own)))
    return trees_with_own, row_of


def _file(folder: Path, block: int | None, precision: torch.dtype | None) -> Path:
    """Of the states that enter a block; None: of those being raised, some of them already there."""
    kind = f"-{_name(precision)}" if precision else ""
    return folder / f"states-{'unfinished' if block is None else block}{kind}.safetensors"


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


def _mapped(path: Path, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """A tensor in a new safetensors file, mapped into memory."""
    num_bytes = shape[0] * shape[1] * dtype.itemsize
    about = {"dtype": _FILE_DTYPES[dtype], "shape": list(shape), "data_offsets": [0, num_bytes]}
    header = json.dumps({"states": about}).encode()
    header += b" " * (-(len(header) + 8) % _ALIGNMENT)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # what is mapped from an older file stays as it is
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + num_bytes)
        if hasattr(os, "posix_fallocate"):  # on a full disk an error here, a crash later
            try:
                os.posix_fallocate(file.fileno(), 0, 8 + len(header) + num_bytes)
            except OSError:
                path.unlink()
                raise
    values = np.memmap(path, np.uint8, "r+", offset=8 + len(header), shape=(num_bytes,))
    return torch.from_numpy(values).view(dtype).reshape(shape)
