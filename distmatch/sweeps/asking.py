"""Suites asked of the adapters that a sweep has trained, so that any of them can be mapped.

Each is asked of the base, before anything is trained, and in the end of every place's adapters at
the learning rate chosen for it. What was asked is kept, so suites may be added later.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distmatch.claims import claimed
from distmatch.evals.local import LocalModel
from distmatch.evals.store import measure_all, measuring
from distmatch.evals.subject import Capability
from distmatch.evals.suite import Suite
from distmatch.models.adapters import loaded_adapter
from distmatch.models.choice import adapter_record
from distmatch.progress import leave_out
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.conditions import Conditions
from distmatch.sweeps.folder import BASE_FOLDER, CELLS_FOLDER, SUITES_FOLDER
from distmatch.sweeps.outcome import read_sweep


def ask_base(conditions: Conditions, suites: Sequence[Suite]) -> None:
    """Leave the base's reports on suites.

    Args:
        conditions: Of all cells.
        suites: What is asked; none: nothing.

    Raises:
        ConfigError: A report is there that was measured with other settings.
        DistmatchError: What suites refuse.
    """
    _ask(conditions, suites, BASE_FOLDER)


def ask_places(conditions: Conditions, suites: Sequence[Suite], cells: Sequence[Cell]) -> None:
    """Leave the reports of each place's adapters at its chosen learning rate, one a seed.

    Args:
        conditions: Of all cells.
        suites: What is asked; none: nothing.
        cells: Those that are done; others' places are left to whoever is at work on them.

    Raises:
        ConfigError: A report is there that was measured with other settings.
        DistmatchError: What suites refuse.
    """
    if not suites:
        return
    known = {cell.name for cell in cells}
    chosen = [name for f in read_sweep(conditions.folder).chosen for name in f.cells]
    for name in filter(known.__contains__, chosen):
        with claimed(conditions.folder, f"suites of {name}") as is_mine:
            if is_mine:
                _ask(conditions, suites, name)
            else:
                for suite in suites:
                    leave_out(measuring(suite))


def phases(suites: Sequence[Suite], cells: Sequence[Cell]) -> list[str]:
    """The kinds of what is to come, one for each suite and subject."""
    chosen = {(cell.place, cell.seed) for cell in cells}
    return [measuring(suite) for suite in suites] * (1 + len(chosen))


def _ask(conditions: Conditions, suites: Sequence[Suite], name: str) -> None:
    if not suites:
        return
    with ExitStack() as stack:
        source = _Source(conditions=conditions, name=name, stack=stack)
        for _ in measure_all(source, suites, conditions.folder / SUITES_FOLDER / name):
            pass


@dataclass(frozen=True, kw_only=True)
class _Source:
    """The sweep's model, alone or with a cell's adapter until the stack is closed."""

    conditions: Conditions
    name: str
    """Of the cell, or the base's."""
    stack: ExitStack
    seed: int = 0
    capabilities: frozenset[Capability] = frozenset(Capability)

    @property
    def batch_size(self) -> int:
        return self.conditions.args.per_device_eval_batch_size

    def record(self) -> dict[str, Any]:
        adapter = None if self._adapter is None else adapter_record(self._adapter)
        return {**self.conditions.record["base"], "adapter": adapter}

    def subject(self) -> LocalModel:
        return self._loaded

    @property
    def _adapter(self) -> Path | None:
        is_base = self.name == BASE_FOLDER
        return None if is_base else self.conditions.folder / CELLS_FOLDER / self.name

    @cached_property
    def _loaded(self) -> LocalModel:
        model: Any = self.conditions.model
        if self._adapter is not None:
            model = self.stack.enter_context(loaded_adapter(model, self._adapter))
        return LocalModel(
            model=model,
            tokenizer=self.conditions.tokenizer,
            batch_size=self.batch_size,
            seed=self.seed,
            progress=not self.conditions.args.disable_tqdm,
        )
