"""What reports are drawn as; each says what was written, or why it couldn't be."""

from collections.abc import Mapping
from pathlib import Path

from distmatch import plots
from distmatch.evals import Report
from distmatch.plots import drawn


def group_figure(reports: Mapping[str, Report], path: Path) -> str:
    """Draw the headline of every group of some reports on one suite.

    Args:
        reports: By what they are called.
        path: Where to.
    """
    headline = next(iter(reports.values())).headline
    parts = {name: {**report.groups(), "all": report} for name, report in reports.items()}
    series = {
        name: {group: part.metrics[headline.name] for group, part in groups.items()}
        for name, groups in parts.items()
    }
    first = next(iter(parts.values()))
    beside = {
        group: part.metrics[headline.beside].mean
        for group, part in first.items()
        if headline.beside in part.metrics
    }
    return drawn(path, lambda path: plots.groups(series, headline.name, marks=beside, path=path))


def calibration_figure(reports: Report | Mapping[str, Report], path: Path) -> str:
    """Draw given on asked probabilities of a report on examples, or of several, a panel each."""
    return drawn(path, lambda path: plots.calibration(reports, path))
