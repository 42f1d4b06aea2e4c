"""Every probe beside every arm, with the adapter as the unit."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from distmatch.data.examples import plain_prompt
from distmatch.data.jsonl import fingerprint
from distmatch.evals import Report
from distmatch.evals.report import text_table
from distmatch.evals.suites.probes.probe import (
    ANSWERED,
    OWN,
    READER,
    REFERENT,
    VALID,
    is_about,
    said_of,
)
from distmatch.experiments.arms import ARMS, BASE, DECORRELATED, NONE, SHUFFLED, TRAINED, Unit
from distmatch.experiments.experiment import Experiment, Measured
from distmatch.measuring.adapters import difference_interval, mean_interval
from distmatch.measuring.intervals import Interval, interval_text

FITS_ITS_OWN = "fits its own"
"""The figure of `Experiment.fits_within`."""
_COMPARED = (NONE, SHUFFLED, DECORRELATED)
_LESS = "own - referent"
_WHOSE = {"own": OWN, _LESS: REFERENT, "reader": READER}
UNANSWERED = "†"
"""Stands behind figures of an arm that has less than half of the mass on valid answers."""


class ArmFigure(NamedTuple):
    """A figure of an arm."""

    values: tuple[float, ...]
    """One a unit."""
    twins: tuple[str, ...] = ()
    """Of each unit what pairs it with one of another arm: its seed and prompts."""

    @property
    def interval(self) -> Interval:
        """Over units; without one where there are few."""
        return mean_interval(self.values)

    def __str__(self) -> str:
        """Mean and interval, or the mean alone."""
        return interval_text(self.interval)

    def less(self, other: "ArmFigure") -> Interval:
        """This minus the other: of units that share seed and prompts, else of all by Welch."""
        theirs = dict(zip(other.twins, other.values, strict=False))
        mine = zip(self.twins, self.values, strict=False)
        paired = [value - theirs[twin] for twin, value in mine if twin in theirs]
        return mean_interval(paired) if paired else difference_interval(other.values, self.values)


class Line(NamedTuple):
    """A figure of a probe in every arm."""

    probe: str
    figure: str
    whose: str
    cells: Mapping[str, ArmFigure]
    unanswered: frozenset[str] = frozenset()
    """Arms with less than half of the mass on valid answers, of all who are asked for it."""

    def told(self, arm: str) -> str:
        """The arm's cell, marked where it is no report; empty if it has none."""
        if arm not in self.cells:
            return ""
        return f"{self.cells[arm]}{UNANSWERED if arm in self.unanswered else ''}"

    @property
    def differences(self) -> dict[str, Interval]:
        """Trained less each arm that learned something else."""
        trained = self.cells.get(TRAINED, ArmFigure(()))
        return {arm: trained.less(self.cells[arm]) for arm in _COMPARED if arm in self.cells}


def lines_of(experiment: Experiment, measured: Measured) -> list[Line]:
    """Every figure of every suite in every arm; an arm's units in their order.

    Args:
        experiment: Whose units were measured.
        measured: Their reports.
    """
    units = [unit for unit in experiment.units if unit.name in measured]
    arms = [arm for arm in ARMS if any(unit.arm == arm for unit in units)]
    twins = {unit.name: _twin(experiment, unit) for unit in units}
    suites = dict.fromkeys(name for unit in units for name in measured[unit.name])
    lines = []
    for suite in suites:
        asked = [u for u in units if suite in measured[u.name]]
        figures = {u.name: _figures(measured[u.name][suite]) for u in asked}  # acts may differ
        for whose, figure in dict.fromkeys(chain.from_iterable(figures.values())):
            having = [u for u in asked if (whose, figure) in figures[u.name]]
            by_arm = {arm: [u.name for u in having if u.arm == arm] for arm in arms}
            cells = {
                arm: ArmFigure(
                    tuple(value_of(measured[name][suite], figure, whose) for name in names),
                    tuple(twins[name] for name in names),
                )
                for arm, names in by_arm.items()
                if names
            }
            lines.append(Line(suite, figure, whose, cells))
        lines += _fit_lines(experiment, suite, asked, measured)
    valid = {(line.probe, line.whose): line.cells for line in lines if line.figure == VALID}
    return [line._replace(unanswered=_unanswered(line, valid)) for line in lines]


def _fit_lines(
    experiment: Experiment, suite: str, units: Sequence[Unit], measured: Measured
) -> Iterator[Line]:
    """How much better what each unit says fits itself than all of its arm, where that is known."""
    sides: dict[str, dict[str, ArmFigure]] = {"own": {}, _LESS: {}}
    for arm in ARMS:
        some = [unit for unit in units if unit.arm == arm]
        if len(some) < 2:
            continue
        reports = [measured[unit.name][suite] for unit in some]
        own, other = (experiment.fits_within(suite, some, reports, who) for who in (OWN, REFERENT))
        if own is None or other is None:
            continue
        twins = tuple(_twin(experiment, unit) for unit in some)
        for cells, fits in zip(sides.values(), (own, own - other), strict=True):
            each = np.diag(fits) - fits.mean(axis=1)
            cells[arm] = ArmFigure(tuple(map(float, each)), twins)
    for whose, cells in sides.items():
        if cells:
            yield Line(suite, FITS_ITS_OWN, whose, cells)


def _twin(experiment: Experiment, unit: Unit) -> str:
    prompts = [plain_prompt(row.prompt) for row in (*unit.rows, *unit.formats)]
    return f"{experiment.seed_of(unit)}/{fingerprint(prompts)}" if prompts else unit.name


def value_of(report: Report, figure: str, whose: str) -> float:
    """A figure of a report: of all items, of its own group, or of own less referent.

    Args:
        report: Of a probe or another suite.
        figure: A metric.
        whose: Empty, or one of `_WHOSE`.
    """
    if not whose:
        return report.metrics[figure].mean
    if whose in (OWN, READER):
        return said_of(report, whose, figure)
    return said_of(report, OWN, figure) - said_of(report, REFERENT, figure)


def arms_table(lines: Sequence[Line]) -> str:
    """The lines as text, means over the units of each arm; all of them are exploratory."""
    return text_table(arms_rows(lines))


def arms_rows(lines: Sequence[Line]) -> list[list[str]]:
    """The cells of `arms_table`, the first row a header."""
    arms = [arm for arm in ARMS if any(arm in line.cells for line in lines)]
    sizes = {
        arm: max(len(line.cells[arm].values) for line in lines if arm in line.cells) for arm in arms
    }
    compared = [arm for arm in _COMPARED if arm in arms]
    header = [f"{arm} ({sizes[arm]})" if arm != BASE else arm for arm in arms]
    rows = [["probe", "figure", "", *header, *(f"{TRAINED} - {arm}" for arm in compared)]]
    for line in lines:
        cells = [line.told(arm) for arm in arms]
        apart = [interval_text(line.differences[a]) if a in line.cells else "" for a in compared]
        rows.append([line.probe, line.figure, line.whose, *cells, *apart])
    return rows


def _unanswered(
    line: Line, valid: Mapping[tuple[str, str], Mapping[str, ArmFigure]]
) -> frozenset[str]:
    """The arms of a line that answer too little, by the lines of what is valid."""
    whose = "own" if line.whose == _LESS else line.whose
    if line.figure == VALID or (line.probe, whose) not in valid:
        return frozenset()
    found = set()
    for arm in line.cells.keys() & valid[line.probe, whose].keys():
        masses = [float(np.mean(valid[line.probe, whose][arm].values))]
        if (line.probe, line.whose) in valid and line.whose == _LESS:
            masses.append(masses[0] - float(np.mean(valid[line.probe, _LESS][arm].values)))
        if not all(mass >= ANSWERED for mass in masses):  # NaN isn't
            found.add(arm)
    return frozenset(found)


def _figures(report: Report) -> list[tuple[str, str]]:
    """Whose, and which figures there are."""
    is_probe = is_about(report, OWN)
    whose = [name for name, who in _WHOSE.items() if is_probe and is_about(report, who)] or [""]
    return [(who, figure) for figure in report.metrics for who in whose]
