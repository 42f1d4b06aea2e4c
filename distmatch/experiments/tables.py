"""Every probe beside every arm, with the adapter as the unit."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from distmatch.evals import Report
from distmatch.evals.report import text_table
from distmatch.evals.suites.probes.probe import OWN, READER, REFERENT, is_about, said_of
from distmatch.experiments.experiment import ARMS, BASE, NONE, TRAINED, Experiment
from distmatch.experiments.units import Measured
from distmatch.measuring.adapters import difference_interval, mean_interval
from distmatch.measuring.intervals import Interval, interval_text

_WHOSE = {"own": OWN, "own - referent": REFERENT, "reader": READER}


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
            lines.append(Line(suite, figure, whose, cells))
    return lines


def value_of(report: Report, figure: str, whose: str) -> float:
    """A figure of a report: of all items, of its own group, or of own less referent.

    Args:
        report: Of a probe or another suite.
        figure: A metric.
        whose: Empty, "own", "own - referent" or "reader".
    """
    if not whose:
        return report.metrics[figure].mean
    if whose in (OWN, READER):
        return said_of(report, whose, figure)
    return said_of(report, OWN, figure) - said_of(report, REFERENT, figure)


def arms_table(lines: Sequence[Line]) -> str:
    """The lines as text, means over the units of each arm; all of them are exploratory."""
    arms = [arm for arm in ARMS if any(arm in line.cells for line in lines)]
    sizes = {
        arm: max(len(line.cells[arm].values) for line in lines if arm in line.cells) for arm in arms
    }
    header = [f"{arm} ({sizes[arm]})" if arm != BASE else arm for arm in arms]
    rows = [["probe", "figure", "", *header, f"{TRAINED} - {NONE}"]]
    for line in lines:
        cells = [str(line.cells[arm]) if arm in line.cells else "" for arm in arms]
        rows.append([line.probe, line.figure, line.whose, *cells, interval_text(line.difference)])
    return text_table(rows)


def _figures(by_arm: Mapping[str, Sequence[Report]]) -> list[tuple[str, str]]:
    """Whose, and which figures there are."""
    first = next(report for reports in by_arm.values() for report in reports)
    is_probe = is_about(first, OWN)
    whose = [name for name, who in _WHOSE.items() if is_probe and is_about(first, who)] or [""]
    return [(who, figure) for figure in first.metrics for who in whose]
