"""Every probe beside every arm, with the adapter as the unit."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from distmatch.evals import Report
from distmatch.evals.report import text_table
from distmatch.evals.suites.probes.probe import OWN, REFERENT, said_of
from distmatch.experiments.experiment import ARMS, BASE, NONE, TRAINED, Experiment
from distmatch.experiments.units import Measured
from distmatch.measuring.adapters import difference_interval, mean_interval
from distmatch.measuring.intervals import Interval

PRIMARY_MARK = "*"
_WHOSE = {"own": OWN, "own - referent": REFERENT}


class ArmFigure(NamedTuple):
    """A figure of an arm."""

    values: tuple[float, ...]
    """One a unit."""

    @property
    def interval(self) -> Interval:
        """Over units; without one where there are few."""
        return mean_interval(self.values)

    def __str__(self) -> str:
        """Mean and interval, or the mean alone."""
        return interval_text(self.interval)


class Line(NamedTuple):
    """A figure of a probe in every arm."""

    probe: str
    figure: str
    whose: str
    cells: Mapping[str, ArmFigure]
    is_primary: bool

    @property
    def difference(self) -> Interval:
        """Trained less none, unpaired: each adapter has rows of its own."""
        first, second = (self.cells.get(arm, ArmFigure(())) for arm in (NONE, TRAINED))
        return difference_interval(first.values, second.values)


def lines_of(experiment: Experiment, measured: Measured) -> list[Line]:
    """Every figure of every suite in every arm; an arm's units in their order.

    Args:
        experiment: Whose units were measured.
        measured: Their reports.
    """
    units = [unit for unit in experiment.units if unit.name in measured]
    arms = [arm for arm in ARMS if any(unit.arm == arm for unit in units)]
    suites = dict.fromkeys(name for unit in units for name in measured[unit.name])
    primary = experiment.primary
    lines = []
    for suite in suites:
        by_arm = {
            arm: [
                measured[u.name][suite] for u in units if u.arm == arm and suite in measured[u.name]
            ]
            for arm in arms
        }
        for whose, figure in _figures(by_arm):
            cells = {
                arm: ArmFigure(tuple(value_of(report, figure, whose) for report in reports))
                for arm, reports in by_arm.items()
                if reports
            }
            is_primary = suite == primary.probe and figure in primary.figures
            lines.append(Line(suite, figure, whose, cells, is_primary and whose != "own"))
    return lines


def value_of(report: Report, figure: str, whose: str) -> float:
    """A figure of a report: of all items, of its own group, or of own less referent.

    Args:
        report: Of a probe or another suite.
        figure: A metric.
        whose: Empty, "own" or "own - referent".
    """
    if not whose:
        return report.metrics[figure].mean
    own = said_of(report, OWN, figure)
    return own if whose == OWN else own - said_of(report, REFERENT, figure)


def arms_table(lines: Sequence[Line]) -> str:
    """The lines as text; the primary one is marked, all others are exploratory."""
    arms = [arm for arm in ARMS if any(arm in line.cells for line in lines)]
    sizes = {
        arm: max(len(line.cells[arm].values) for line in lines if arm in line.cells) for arm in arms
    }
    header = [f"{arm} ({sizes[arm]})" if arm != BASE else arm for arm in arms]
    rows = [["probe", "figure", "", *header, f"{TRAINED} - {NONE}"]]
    for line in lines:
        mark = PRIMARY_MARK if line.is_primary else ""
        cells = [str(line.cells[arm]) if arm in line.cells else "" for arm in arms]
        rows.append(
            [line.probe, f"{line.figure}{mark}", line.whose, *cells, interval_text(line.difference)]
        )
    return text_table(rows)


def interval_text(interval: Interval) -> str:
    """An interval, or the mean alone where there is none."""
    if not np.isfinite(interval.mean):
        return "-"
    return str(interval) if np.isfinite(interval.low) else f"{interval.mean:.3f}"


def _figures(by_arm: Mapping[str, Sequence[Report]]) -> list[tuple[str, str]]:
    """Whose, and which figures there are."""
    first = next(report for reports in by_arm.values() for report in reports)
    groups = {about.get("group") for about in first.items.metadata}
    whose = [name for name, needs in _WHOSE.items() if {OWN, needs} <= groups] or [""]
    return [(who, figure) for figure in first.metrics for who in whose]
