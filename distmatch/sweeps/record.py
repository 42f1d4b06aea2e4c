"""The folder's `sweep.json`: what every result depends on, which may not change."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distmatch.claims import is_worked_on
from distmatch.errors import ConfigError, listed
from distmatch.files import write_text
from distmatch.runs.record import changes
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.conditions import Conditions
from distmatch.sweeps.folder import (
    BASE_FOLDER,
    PROBE_FILE,
    SETTINGS_FILE,
    SUITES_FOLDER,
    parsed_file,
)
from distmatch.sweeps.results import read_results


def settle_record(conditions: Conditions, cells: Sequence[Cell]) -> None:
    """Leave the record in the sweep's folder, or hold it against the one that is there.

    Args:
        conditions: Those of all cells.
        cells: Those to be run; finished ones are held against their results.

    Raises:
        ConfigError: The folder's cells were made of something else; with what differs.
    """
    folder, record = conditions.folder, conditions.record
    results, _ = read_results(folder)
    if not (folder / SETTINGS_FILE).exists():
        _write(folder, record)
    there, now = _read(folder / SETTINGS_FILE), dict(record)
    if changes(there, now) and not results and not is_worked_on(folder):  # nothing is lost by it
        for made_of_it in (BASE_FOLDER, SUITES_FOLDER):
            shutil.rmtree(folder / made_of_it, ignore_errors=True)
        (folder / PROBE_FILE).unlink(missing_ok=True)
        _write(folder, record)
        there = dict(now)
    for cell in cells:
        result = results.get(cell.name)
        if result is not None and result.measures is not None:
            there[cell.name] = {"parameters": result.cell.parameters}
            now[cell.name] = {"parameters": cell.parameters}
    if different := changes(there, now):
        raise ConfigError(
            f"{folder} holds a sweep of other settings ({listed(different, '; ')}): "
            "choose another output_dir, or set them as they were"
        )


def recorded_sets(folder: Path) -> list[str]:
    """The names of the sets of examples, the learned one first.

    Args:
        folder: The sweep's.

    Raises:
        ConfigError: The record can't be read.
    """
    return parsed_file(folder / SETTINGS_FILE, _set_names)


def _set_names(record: Any) -> list[str]:
    names = list(record["data"]["tests"])
    if not names:
        raise ValueError("it names no set of examples")
    return names


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    write_text(folder / SETTINGS_FILE, json.dumps(record, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")).items())
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} can't be read ({error}): restore it, or choose another output_dir"
        ) from error
