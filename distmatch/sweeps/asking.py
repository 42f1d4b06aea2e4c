"""Suites asked of the adapters that a sweep has trained, so that any of them can be mapped.

Each is asked of the base, before anything is trained, and in the end of every place's adapters at
the learning rate chosen for it. What was asked is kept, so suites may be added later.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distmatch.claims import claimed
from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError
from distmatch.evals.local import LocalModel
from distmatch.evals.store import Store, measure_all, measuring, settings_of
from distmatch.evals.subject import Capability
from distmatch.evals.suite import Suite
from distmatch.models.adapters import loaded_adapter
from distmatch.models.choice import adapter_record
from distmatch.progress import leave_out
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.conditions import Conditions
from distmatch.sweeps.findings import findings
from distmatch.sweeps.folder import BASE_FOLDER, CELLS_FOLDER, SUITES_FOLDER
from distmatch.sweeps.measures import read_base
from distmatch.sweeps.results import read_results


def check_asked(conditions: Conditions, suites: Sequence[Suite]) -> None:
    """Refuse suites that were asked before with other settings, of the base or of any cell.

    Args:
        conditions: Of all cells.
        suites: To be asked.

    Raises:
        ConfigError: Which, and what differs.
    """
    for name in (BASE_FOLDER, *read_results(conditions.folder)[0]):
        asked = conditions.folder / SUITES_FOLDER / name
        if not asked.is_dir():
            continue
        source = _Source(conditions=conditions, name=name, stack=ExitStack())
        record = source.record()
        for suite in suites:
            with _to_be_asked_again(suite):
                Store(asked).find(suite.name, settings_of(source, suite, record))


def ask_base(conditions: Conditions, suites: Sequence[Suite]) -> None:
    """Leave the base's reports on suites, unless another process is at it.

    Args:
        conditions: Of all cells.
        suites: What is asked; none: nothing.

    Raises:
        DistmatchError: What suites refuse.
    """
    _ask(conditions, suites, BASE_FOLDER)


def ask_places(
    conditions: Conditions, suites: Sequence[Suite], cells: Sequence[Cell], elsewhere: Sequence[str]
) -> list[str]:
    """Leave the reports of each place's adapters at its chosen learning rate, one a seed.

    Args:
        conditions: Of all cells.
        suites: What is asked; none: nothing.
        cells: Those of the sweep's grid.
        elsewhere: Those that others are at work on; their places are left to these.

    Returns:
        The names of cells that others are asking.

    Raises:
        DistmatchError: What suites refuse.
    """
    if not suites:
        return []
    places = {c.place for c in cells} - {c.place for c in cells if c.name in elsewhere}
    base = read_base(conditions.folder, list(conditions.sets.named()))
    found = findings(read_results(conditions.folder)[0].values(), base)
    chosen = [name for f in found if f.chosen and f.place in places for name in f.cells]
    left = [name for name in chosen if not _ask(conditions, suites, name)]
    for _ in range(len(phases(suites, cells)) // len(suites) - 1 - len(chosen)):
        _leave_out(suites)
    return left


def phases(suites: Sequence[Suite], cells: Sequence[Cell]) -> list[str]:
    """The kinds of what is to come, one for each suite and subject."""
    chosen = {(cell.place, cell.seed) for cell in cells}
    return [measuring(suite) for suite in suites] * (1 + len(chosen))


def _ask(conditions: Conditions, suites: Sequence[Suite], name: str) -> bool:
    """Whether it wasn't another process that is at it."""
    if not suites:
        return True
    with claimed(conditions.folder, f"suites of {name}") as is_mine, ExitStack() as stack:
        if not is_mine:
            _leave_out(suites)
            return False
        source = _Source(conditions=conditions, name=name, stack=stack)
        for _ in measure_all(source, suites, conditions.folder / SUITES_FOLDER / name):
            pass
    return True


def _leave_out(suites: Sequence[Suite]) -> None:
    for suite in suites:
        leave_out(measuring(suite))


@contextmanager
def _to_be_asked_again(suite: Suite) -> Iterator[None]:
    """Inside, what is wrong with a report says how it is mended here."""
    try:
        yield
    except ConfigError as error:
        told = str(error).rpartition(": remove it")[0]
        raise ConfigError(
            f"{told}: set it as it was, or remove {SUITES_FOLDER}/*/{suite.name} there, so that "
            "all are asked anew"
        ) from error


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
        template = fingerprint([self.conditions.tokenizer.chat_template])
        adapter = None if self._adapter is None else adapter_record(self._adapter)
        return {**self.conditions.record["base"], "template": template, "adapter": adapter}

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
