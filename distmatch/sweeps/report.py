"""A sweep's report: its tables, figures and cells as files."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distmatch.claims import locked
from distmatch.files import write_json, write_text
from distmatch.plots import drawn
from distmatch.reports import save_page
from distmatch.reports.saving import REPORT_PAGE
from distmatch.sweeps.figures import draw_figures
from distmatch.sweeps.folder import REPORT_FOLDER
from distmatch.sweeps.headlines import CONTROL, MAPPED, mean_of
from distmatch.sweeps.outcome import Sweep, read_sweep
from distmatch.sweeps.page import sweep_page


def write_report(folder: str | Path) -> Sweep:
    """What came of a sweep so far, with its report written anew.

    Args:
        folder: The sweep's, also of one that is running.

    Raises:
        ConfigError: As `read_sweep`.
    """
    folder = Path(folder)
    read_sweep(folder)  # what can't be read is said before anything is made
    # Read inside, so that of two processes the later one's report has all of the earlier one's.
    # The sweep's own lock may be held for as long as measuring the base on its examples takes.
    with locked(folder / REPORT_FOLDER):
        sweep = read_sweep(folder)
        return replace(sweep, written=save_report(sweep) if sweep.findings else ())


def save_report(sweep: Sweep) -> tuple[str, ...]:
    """Leave report.html in a sweep's folder, and the rest in its folder of reports.

    Args:
        sweep: With one finding or more.

    Returns:
        A line for each, which says that it was written, or why not.
    """
    folder = sweep.folder / REPORT_FOLDER
    figures = draw_figures(sweep, folder)
    write_text(folder / "cells.csv", _csv(sweep))
    write_json(folder / "report.json", _plain(_content(sweep)))
    write_text(folder / "report.md", f"# Layer sweep\n\n```\n{sweep.report}\n```\n")
    page = drawn(sweep.folder / REPORT_PAGE, lambda path: save_page(sweep_page(sweep), path))
    return *figures, page, f"wrote {folder / 'report.md'}, report.json, cells.csv"


def _content(sweep: Sweep) -> dict[str, Any]:
    learned, transfer = sweep.base.learned, sweep.base.transfer
    return {
        "cells": [finding.to_json() for finding in sweep.findings],
        "base": {
            **{headline.name: headline.of_base(learned) for headline in MAPPED},
            "slope": mean_of(learned, "slope"),
            "transfer": {name: CONTROL.of_base(metrics) for name, metrics in transfer.items()},
        },
        "suites": {one.suite: one.to_json() for one in sweep.suites},
        "probe": [row._asdict() for row in sweep.correlations],
        "failed": sweep.failed,
        "passed_over": sweep.passed_over,
    }


def _csv(sweep: Sweep) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    transfers = list(sweep.base.transfer)
    names = ("site", "blocks", "rank", "learning_rate", "chosen", "parameters", "num_seeds")
    prices = ("tuning", "slope", "tvd", "kl", "train_seconds", "flops")
    ends = [f"{headline.name}{end}" for headline in MAPPED for end in ("", "_low", "_high")]
    carried = [f"{CONTROL.name}, {name}" for name in transfers]
    writer.writerow([*names, *ends, *carried, *prices])
    for f in sweep.findings:
        own = [getattr(f, name) for name in names]
        values = [value for headline in MAPPED for value in f.gains[headline.name]]
        rest = [*(f.transfer[name] for name in transfers), *(getattr(f, name) for name in prices)]
        writer.writerow([*own, *values, *rest])
    return text.getvalue()


def _plain(content: Any) -> Any:
    """With None for what is not a number."""
    if isinstance(content, Mapping):
        return {name: _plain(value) for name, value in content.items()}
    if isinstance(content, tuple | list):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
