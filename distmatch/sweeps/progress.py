"""How far a sweep is."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers.trainer_callback import TrainerCallback

from distmatch.progress import Phase, phase, show
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.conditions import Conditions

CELLS = "cells"
"""What they are called where progress is shown."""


class ShownCells(TrainerCallback):
    """Moves with every step of every cell, by the blocks that it runs, and with measuring.

    Args:
        conditions: Of all cells.
        cells: All that are asked for.
        left: Those of them that aren't done.
    """

    def __init__(
        self, conditions: Conditions, cells: Sequence[Cell], left: Collection[Cell]
    ) -> None:
        num_blocks = conditions.model.config.get_text_config().num_hidden_layers
        self._costs = {cell: num_blocks - cell.lowest + 1 for cell in cells}  # 1: the head, about
        self._measured = 2 * len(conditions.texts) + sum(
            1 + len(example.rotated())
            for examples in conditions.sets.named().values()
            for example in examples
        )
        self._cell = cells[0]
        self._numbers = {cell: f"{number}/{len(cells)}" for number, cell in enumerate(cells, 1)}
        self._left = left
        self._phase: Phase

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, they go on."""
        total, done = float(sum(self._costs.values())), self._done(self._left)
        with phase(CELLS, total, done=done) as self._phase:
            yield

    def begin(self, cell: Cell) -> None:
        """Name the cell that steps are of from now on."""
        self._cell = cell
        self._phase.name = f"{self._numbers[cell]} {cell.name}"
        show(now=True)

    def settle(self, left: Collection[Cell]) -> None:
        """Show what is truly done, others' work too."""
        self._phase.move_to(self._done(left))

    def _done(self, left: Collection[Cell]) -> int:
        return sum(cost for cell, cost in self._costs.items() if cell not in left)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move by a step; what measuring will take is left of the cell's share."""
        size = args.train_batch_size * args.gradient_accumulation_steps
        step = 3 * size  # a backward is as dear as two forwards
        all_steps = state.max_steps * step
        self._phase.advance(self._costs[self._cell] * step / (all_steps + self._measured))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the loss."""
        shown = [f"{name}={logs[name]:.3g}" for name in ("loss", "tvd") if name in (logs or {})]
        if shown:
            self._phase.told = ", ".join(shown)
