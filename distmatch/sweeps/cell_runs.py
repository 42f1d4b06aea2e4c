"""A sweep's cells, one after the other, each done once, by however many processes."""

from collections.abc import Sequence
from pathlib import Path

from distmatch.claims import claimed, drop_stale_claims, own_folder
from distmatch.progress import say
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.conditions import Conditions
from distmatch.sweeps.progress import ShownCells
from distmatch.sweeps.results import append_result, read_results
from distmatch.sweeps.states import StatesBelow
from distmatch.sweeps.training import trained_cell


def run_cells(conditions: Conditions, cells: Sequence[Cell]) -> list[str]:
    """Run what isn't done yet and nobody else works on.

    Args:
        conditions: Those of all cells.
        cells: Those with the lowest blocks first, so that states below are computed once.

    Returns:
        The names of cells that others are at work on.

    Raises:
        OSError: The folder can't be written to, such as on a full disk.
    """
    folder = conditions.folder
    for line in read_results(folder)[1]:
        say(line)
    shown = ShownCells(conditions, cells, _left(folder, cells))
    with own_folder(folder, "states") as states, shown.shown():
        below = StatesBelow(conditions, states)
        were_any = True
        while were_any:  # once more: others may have been killed at what they were at work on
            were_any = _run_free_ones(conditions, cells, below, shown)
    drop_stale_claims(folder)
    return [cell.name for cell in _left(folder, cells)]


def _run_free_ones(
    conditions: Conditions, cells: Sequence[Cell], below: StatesBelow, shown: ShownCells
) -> bool:
    """Whether there was any cell that is left and nobody else works on."""
    folder = conditions.folder
    were_any = False
    for cell in _left(folder, cells):
        with claimed(folder, cell.name) as is_mine:
            if not is_mine or not _left(folder, [cell]):
                continue
            were_any = True
            shown.begin(cell)
            with below.left_out(cell.lowest):
                result = trained_cell(conditions, cell, shown)
            append_result(folder, result)
        shown.settle(_left(folder, cells))
    return were_any


def _left(folder: Path, cells: Sequence[Cell]) -> list[Cell]:
    """Those of which nothing has come yet, not even a failure."""
    done, _ = read_results(folder)
    return [cell for cell in cells if cell.name not in done]
