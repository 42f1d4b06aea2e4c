"""What came of a sweep so far: the report of its folder, without a model."""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from distmatch.errors import ConfigError
from distmatch.sweeps.findings import TUNING, Finding, findings
from distmatch.sweeps.probe import PROBE_FILE, Score
from distmatch.sweeps.records import locked, read_base, read_results
from distmatch.sweeps.report import missing, write_report
from distmatch.sweeps.setting import SETTINGS_FILE, check_rates

_REPORT_FOLDER = "report"
_Part = TypeVar("_Part")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What came of a sweep."""

    folder: Path
    findings: list[Finding]
    """With most control first."""
    failed: dict[str, str]
    """Why a cell has no finding, by its name."""
    report: str
    """As text."""
    elsewhere: tuple[str, ...] = ()
    """Cells that were left out since other processes are at work on them."""

    def __str__(self) -> str:
        """The report, and what others are at work on."""
        if not self.elsewhere:
            return self.report
        return f"{self.report}\nothers are at work on {', '.join(self.elsewhere)}"


def read_sweep(folder: str | Path) -> Sweep:
    """What came of a sweep so far; its report is written anew.

    Args:
        folder: The sweep's, also of one that is running.

    Raises:
        ConfigError: It holds no sweep, one that was stopped before its base was measured, several
            learning rates with nothing to choose between them by, or files that can't be read.
    """
    folder = Path(folder)
    if not (folder / SETTINGS_FILE).is_file():
        raise ConfigError(f"{folder} holds no sweep (no {SETTINGS_FILE}): give a sweep's folder")
    names = _content(folder / SETTINGS_FILE, _test_names)
    if TUNING not in names:  # of two processes that began at once with different ones
        check_rates(folder, [])
    metrics = {name: read_base(folder, name) for name in names}
    scores = read_scores(folder) if (folder / PROBE_FILE).is_file() else []
    importlib.import_module("scipy.stats")  # takes a second, for which nobody else has to wait
    # Read inside, so that of two processes the later one's report has all of the earlier one's.
    # The sweep's own lock may be held for as long as measuring the base takes.
    with locked(folder / _REPORT_FOLDER):
        rows, wrong = read_results(folder)
        found = findings(rows.values(), metrics)
        failed = {name: row["failed"] for name, row in rows.items() if "failed" in row}
        if found:
            reported = {name: of_base for name, of_base in metrics.items() if name != TUNING}
            told = write_report(
                folder / _REPORT_FOLDER, found, reported, scores, failed=failed, passed_over=wrong
            )
        else:
            told = "\n".join(filter(None, ["no cells yet", missing(failed, wrong)]))
    return Sweep(folder=folder, findings=found, failed=failed, report=told)


def read_scores(folder: Path) -> list[Score]:
    """The probe's, of a sweep's folder.

    Args:
        folder: The sweep's.

    Raises:
        ConfigError: The file holds something else.
    """
    return _content(folder / PROBE_FILE, lambda rows: [Score(**row) for row in rows])


def _test_names(settings: Any) -> list[str]:
    """Of the sets of examples, the first of which is what is learned."""
    names = list(settings["data"]["tests"])
    if not names:
        raise ValueError("it names no set of examples")
    return names


def _content(path: Path, parsed: Callable[[Any], list[_Part]]) -> list[_Part]:
    """What a file of JSON holds.

    Args:
        path: The file.
        parsed: What is wanted of its content.

    Raises:
        ConfigError: It holds something else.
    """
    try:
        return parsed(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} can't be read ({error!r}): restore it, or remove it and start the sweep again"
        ) from error
