"""An experiment from its rule to its verdict: kept step by step, killed and resumed to the same."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distmatch import plots
from distmatch.claims import locked
from distmatch.errors import ConfigError, DataError, listed, unknown_name
from distmatch.evals import Report
from distmatch.evals.store import REPORT_FILE
from distmatch.evals.suites.probes.probe import OWN, REFERENT
from distmatch.experiments.experiment import Experiment, Measured
from distmatch.experiments.tables import UNANSWERED, Line, arms_rows, arms_table, lines_of
from distmatch.experiments.units import REPORTS_FOLDER, UNITS_FOLDER, UnitRuns, suites_of
from distmatch.experiments.verdict import Evidence, Verdict, decided
from distmatch.files import check_folder, told_if_unwritable, write_json, write_text
from distmatch.models.choice import ModelChoice
from distmatch.plots import drawn
from distmatch.runs.record import changes

RECORD_FILE, VERDICT_FILE, TABLE_FILE = "experiment.json", "verdict.json", "table.txt"
FIGURE_FILE = "primary.png"

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ExperimentOutcome:
    """What came of an experiment; `print` shows table and verdict."""

    experiment: Experiment
    folder: Path
    measured: Mapping[str, Mapping[str, Report]]
    """By unit and suite; every item with its whole prompt."""
    verdict: Verdict

    @property
    def lines(self) -> list[Line]:
        """Every figure in every arm."""
        return lines_of(self.experiment, self.measured)

    def __str__(self) -> str:
        """The question, the table, and what the rule says."""
        return f"{self.experiment.question}\n\n{arms_table(self.lines)}\n{self._decided}"

    def _repr_html_(self) -> str:
        """The same in a notebook, and the primary contrast."""
        parts = self.experiment.question, arms_rows(self.lines), self._decided
        return plots.notebook_html(*parts, figure=self._figure)

    @property
    def _decided(self) -> str:
        return (
            f"means over units; everything above is exploratory; {UNANSWERED} less than half of "
            f"the mass is on valid answers, so it is no report\n\n{self._beside}"
            f"primary: {self._primary}\n"
            f"by the rule written before, it is refuted if {self.experiment.rule}\n\n"
            f"{self.verdict}"
        )

    @property
    def _beside(self) -> str:
        told = self.experiment.told_beside(self.measured)
        return f"{told}\n\n" if told else ""

    @property
    def _primary(self) -> str:
        primary = self.experiment.primary
        return f"{primary.probe}, own less referent, {primary.fit} on behaviour by exchange"

    def draw(self, path: str | Path) -> str:
        """Draw the primary contrast; what was written, or why it couldn't be."""
        return drawn(Path(path), self._figure)

    def _figure(self, path: Path | None = None) -> object:
        found = {"trained": self.verdict.evidence, "told": self.verdict.told}
        known = {arm: some for arm, some in found.items() if some is not None}
        primary = self.experiment.primary
        if primary.fit == "slope":
            points = {arm: _points(some) for arm, some in known.items()}
            labels = ("done (told: the rule)", f"{primary.probe}: own - referent")
            truth = max((some.truth for some in known.values()), default=None)
            return plots.reported(points, labels, truth=truth, path=path)
        evidence = self.verdict.evidence
        if evidence is None:
            raise DataError("too few adapters answer to be drawn")
        reports = {name: self.measured[name][primary.probe] for name in evidence.units}
        fits = self._less_referent(reports, evidence)
        return plots.exchanged(fits, evidence.units, path=path)

    def _less_referent(self, reports: Mapping[str, Report], found: Evidence) -> list[list[float]]:
        acted = [np.array(one) for one in found.behaviours]
        own, referent = (self.experiment.fits(reports, acted, who) for who in (OWN, REFERENT))
        return [[float(value) for value in row] for row in own - referent]


def _points(found: Evidence) -> list[tuple[float, float]]:
    return [(b[0], r[0]) for b, r in zip(found.behaviours, found.reports, strict=True)]


def run_experiment(
    experiment: Experiment,
    model: ModelChoice | str,
    out: str | Path,
    *,
    arms: tuple[str, ...] = (),
    batch_size: int = 32,
    progress: bool = True,
    tell: Tell = print,
) -> ExperimentOutcome:
    """Train and ask every unit, and say what the rule says; started again, it goes on.

    The experiment's record, the hash of its rule among it, is kept before anything is trained; each
    adapter and each report as soon as it is done. Several processes may work on one folder: each
    takes adapters that no other is at, and ends when all are done.

    Args:
        experiment: A ready one such as `EXPERIMENTS["shares"]`, one of your own, or
            `read_experiment(FILE)`.
        model: A name as for `load_model`, or how it is loaded.
        out: The folder for all of it.
        arms: Those to carry out now; empty: all. With `("told", "base")` nothing is trained, and
            it is seen in minutes whether the probe is blind for the model.
        batch_size: Prompts a forward where units are asked.
        progress: Whether a bar is shown.
        tell: Shown what came of it.

    Raises:
        ConfigError: The experiment can't be carried out, or the folder holds another one.
        DistmatchError: What else can't be used; before the model is loaded where that can be known.
    """
    choice = ModelChoice(name=model) if isinstance(model, str) else model
    folder = Path(out)
    runs = UnitRuns(
        experiment=experiment,
        model=choice,
        folder=folder,
        batch_size=batch_size,
        progress=progress,
        arms=arms,
    )
    record = checked(runs)
    with told_if_unwritable(folder, "start it again: what is done is kept"):
        keep_record(folder, record)
        measured = runs.carried_out()
        outcome = _outcome(experiment, folder, measured)
        write_json(folder / VERDICT_FILE, outcome.verdict.to_json())
        write_text(folder / TABLE_FILE, f"{outcome}\n")
        tell(str(outcome))
        tell(outcome.draw(folder / FIGURE_FILE))
        for told in experiment.draw_beside(measured, folder):
            tell(told)
    return outcome


def checked(runs: UnitRuns) -> dict[str, Any]:
    """The experiment's record, once all is checked that needs no weights.

    Args:
        runs: How it is to be carried out.

    Raises:
        ConfigError: It can't be, or the folder holds another one.
        DistmatchError: What else can't be used.
    """
    experiment, folder = runs.experiment, runs.folder
    experiment.check()
    for arm in runs.arms:
        if arm not in experiment.arms:
            raise ConfigError(f"{experiment.name}: {unknown_name('arm', arm, experiment.arms)}")
    record = record_of(runs)
    check_record(folder, record)
    check_folder(folder, "out")
    runs.check()
    return record


def record_of(runs: UnitRuns) -> dict[str, Any]:
    """All that results depend on."""
    record = runs.experiment.record() | {"model": runs.model.record()}
    if any(probe.draws_text for probe in runs.suites()):
        record["batch_size"] = runs.batch_size  # on which drawn texts depend
    return record


def read_outcome(experiment: Experiment, folder: str | Path) -> ExperimentOutcome:
    """What is there of an experiment, finished or not; nothing is trained or asked.

    Args:
        experiment: As it was carried out.
        folder: Where.

    Raises:
        ConfigError: The folder holds another one, or none.
    """
    folder = Path(folder)
    if not (folder / RECORD_FILE).is_file():
        raise ConfigError(f"{folder} holds no experiment (no {RECORD_FILE})")
    check_record(folder, experiment.record(), besides=("model", "batch_size"))
    measured: dict[str, dict[str, Report]] = {}
    for unit in experiment.units:
        place = folder / UNITS_FOLDER / unit.name / REPORTS_FOLDER
        paths = {s.name: place / s.name / REPORT_FILE for s in suites_of(experiment, unit)}
        if all(path.is_file() for path in paths.values()):
            measured[unit.name] = {name: Report.load(path) for name, path in paths.items()}
    return _outcome(experiment, folder, measured)


def _outcome(experiment: Experiment, folder: Path, measured: Measured) -> ExperimentOutcome:
    return ExperimentOutcome(
        experiment=experiment,
        folder=folder,
        measured=measured,
        verdict=decided(experiment, measured),
    )


def keep_record(folder: Path, record: Mapping[str, object]) -> None:
    """Write down what the results in a folder depend on.

    Raises:
        ConfigError: Another process has just begun another experiment there.
    """
    with locked(folder):
        check_record(folder, record)
        write_json(folder / RECORD_FILE, record)


def check_record(folder: Path, record: Mapping[str, object], besides: Collection[str] = ()) -> None:
    """Refuse a folder that holds another experiment, with what differs.

    Args:
        folder: The experiment's.
        record: All that its results depend on.
        besides: Of what is kept there, what isn't compared.

    Raises:
        ConfigError: It holds one that was told other things, or can't be read.
    """
    kept = folder / RECORD_FILE
    if not kept.is_file():
        return
    try:
        there = json.loads(kept.read_text(encoding="utf-8"))
        known = {name: value for name, value in there.items() if name not in besides}
        different = changes(known, record)
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{kept} can't be read ({error}): restore it, or choose another folder"
        ) from error
    if different:
        raise ConfigError(
            f"{folder} holds an experiment that was told other things: "
            f"{listed(different, '; ')}. Go on with its own settings, or choose another folder "
            "(--out)"
        )
