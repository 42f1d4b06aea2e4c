"""Several learning rates of one place, which need something to choose between them by."""

from collections.abc import Sequence
from pathlib import Path

from distmatch.errors import ConfigError
from distmatch.sweeps.cells import Cell, CellPlace
from distmatch.sweeps.folder import RESULTS_FILE
from distmatch.sweeps.results import read_results


def check_rates(folder: Path, cells: Sequence[Cell]) -> None:
    """Refuse several learning rates of one place, in a sweep that can't choose between them.

    Args:
        folder: The sweep's; what is finished there counts, but for rates at which a seed failed.
        cells: Those to be run.

    Raises:
        ConfigError: Such a place.
    """
    results = read_results(folder)[0].values()
    failed = {_tried(result.cell) for result in results if result.measures is None}
    finished = {_tried(result.cell) for result in results} - failed
    rates: dict[CellPlace, set[float]] = {}
    for place, rate in finished | set(map(_tried, cells)):
        rates.setdefault(place, set()).add(rate)
    for place, several in sorted(rates.items()):
        if len(several) > 1:
            raise ConfigError(
                f"{place.name} of rank {place.rank} would have the learning rates "
                f"{' and '.join(map(str, sorted(several)))} in {folder}, with nothing to choose "
                "between them by: leave it one of them, give tuning_dataset ([tuning] in a run "
                "file) from the start of a sweep, or choose another output_dir; of finished ones "
                f"take one's lines out of {RESULTS_FILE}"
            )


def _tried(cell: Cell) -> tuple[CellPlace, float]:
    return cell.place, cell.learning_rate
