"""`distmatch report`: the page of a folder, of what is kept there."""

from collections.abc import Callable, Mapping
from pathlib import Path

from distmatch.anatomy.page import apart_page
from distmatch.anatomy.taking import PARTS_FOLDER, read_apart
from distmatch.cli.comparison import kept_reports
from distmatch.cli.reporting import left_page
from distmatch.errors import ConfigError
from distmatch.evals.page import suites_page
from distmatch.evals.report import Report
from distmatch.evals.store import REPORT_FILE
from distmatch.experiments.page import experiment_page
from distmatch.experiments.ready import kept_experiment
from distmatch.experiments.running import RECORD_FILE, read_outcome
from distmatch.reports import Page
from distmatch.runs import RunOutcome
from distmatch.runs.page import run_page
from distmatch.runs.run import RUN_RECORD
from distmatch.sweeps.folder import SETTINGS_FILE
from distmatch.sweeps.outcome import read_sweep
from distmatch.sweeps.page import sweep_page


def write_page(folder: str | Path) -> None:
    """Write report.html into a folder, and say so.

    Args:
        folder: As a command left it.

    Raises:
        ConfigError: It holds nothing that there are pages of, or what isn't finished.
        DataError: What can't be read.
    """
    folder = Path(folder)
    kinds = [page for name, page in _PAGES.items() if any(folder.glob(name))]
    if not kinds:
        raise ConfigError(
            f"{folder} holds nothing to report: give a folder that train, eval --out, sweep, "
            "experiment or apart left"
        )
    page = kinds[0](folder)  # what can't be read is an error here, not a page that wasn't drawn
    print(left_page(folder, lambda: page))


def _sweep(folder: Path) -> Page:
    sweep = read_sweep(folder)
    if not sweep.findings:
        raise ConfigError(f"{folder} holds a sweep without a finished cell: go on with it first")
    return sweep_page(sweep)


def _measured(folder: Path) -> Page:
    reports = {name: Report.load(path) for name, path in kept_reports(folder).items()}
    return suites_page(folder, {"": reports})


_PAGES: Mapping[str, Callable[[Path], Page]] = {
    RUN_RECORD: lambda folder: run_page(RunOutcome.load(folder)),
    SETTINGS_FILE: _sweep,
    RECORD_FILE: lambda folder: experiment_page(read_outcome(kept_experiment(folder), folder)),
    f"{PARTS_FOLDER}/*/{REPORT_FILE}": lambda folder: apart_page(
        folder.resolve().name, read_apart(folder)
    ),
    f"*/{REPORT_FILE}": _measured,
    REPORT_FILE: _measured,
}
"""By what tells a folder of its kind, what makes its page."""
