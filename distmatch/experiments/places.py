"""Where behaviour and its report live: an experiment's adapters trained in one place each.

Two maps of the same adapters. *Behaviour* is how well what each does fits what was drawn for it,
by the experiment's own fit, as a share of what it would be if all did exactly that. *Report* is the
primary contrast, as a share of a truth-teller's. Adapters of one place are asked for it, and it is
drawn, only where adapters of all blocks pass every check: what isn't reported has no place.
"""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from distmatch import plots
from distmatch.claims import locked
from distmatch.errors import ConfigError
from distmatch.evals.report import text_table
from distmatch.experiments.arms import LEARNING_ARMS
from distmatch.experiments.experiment import ACTS, Experiment, Measured
from distmatch.experiments.running import (
    ExperimentOutcome,
    check_record,
    keep_record,
    record_of,
    run_experiment,
)
from distmatch.experiments.units import FORMATS_FILE, TEXTS_FOLDER, UNITS_FOLDER, UnitRuns
from distmatch.experiments.verdict import (
    RESULTS,
    Verdict,
    contrast_interval,
    decided,
    taught_units,
)
from distmatch.files import check_folder, replacing, told_if_unwritable, write_text
from distmatch.measuring.exchange import Exchange
from distmatch.measuring.intervals import Interval, interval_text
from distmatch.models.choice import ModelChoice
from distmatch.models.footprint import empty_model
from distmatch.models.loading import load_config
from distmatch.plots import drawn
from distmatch.progress import work
from distmatch.sweeps import Grid
from distmatch.sweeps.cells import CellPlace

WHOLE_FOLDER, PLACES_FOLDER = "all", "places"
MAPS_FILE, TABLE_FILE = "places.png", "places.txt"
_NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class AtPlace:
    """What came of adapters that learned in one place alone."""

    behaviour: Interval
    """Of what they do with what was drawn; 1 is exactly that."""
    num_learned: int
    """Adapters,"""
    num_taught: int
    """and of these those that learned their behaviour."""
    verdict: Verdict | None
    """None where they were asked no probe."""

    @classmethod
    def of(cls, experiment: Experiment, measured: Measured, *, is_asked: bool) -> "AtPlace":
        """By the reports of their adapters.

        Args:
            experiment: Theirs.
            measured: Their reports.
            is_asked: Whether those of probes are among these.
        """
        learned = [u for u in experiment.units if u.arm in LEARNING_ARMS and u.name in measured]
        acted = {u.name: experiment.behaviour(measured[u.name][ACTS]) for u in learned}
        return cls(
            behaviour=behaviour_of(experiment, measured),
            num_learned=len(learned),
            num_taught=len(taught_units(experiment, learned, acted)),
            verdict=decided(experiment, measured) if is_asked else None,
        )

    @property
    def report(self) -> Interval:
        """Of the primary contrast; 1 is a truth-teller's. NaN where too few are taught, or answer.

        So it is where nobody was asked.
        """
        found = None if self.verdict is None else self.verdict.evidence
        return _NOTHING if found is None else _share(found.interval, found.truth)


@dataclass(frozen=True, kw_only=True)
class ExperimentMap:
    """An experiment in all blocks, and in one place each; `print` shows the table."""

    whole: ExperimentOutcome
    places: Mapping[CellPlace, AtPlace]

    @property
    def has_reports(self) -> bool:
        """Whether adapters of all blocks pass every check, so that reports have a place."""
        return self.whole.verdict.outcome in RESULTS

    @property
    def all_blocks(self) -> AtPlace:
        """Of the adapters of all blocks."""
        return AtPlace.of(self.whole.experiment, self.whole.measured, is_asked=True)

    def __str__(self) -> str:
        """A row a place, with intervals over adapters."""
        return "\n".join(filter(None, [text_table(self.rows), self._lacking]))

    def _repr_html_(self) -> str:
        """The same in a notebook, and the maps."""
        return plots.notebook_html(self.rows, self._lacking, figure=self._figure)

    @property
    def _lacking(self) -> str:
        return "" if self.has_reports else f"no map of reports: {self.whole.verdict.outcome}"

    @property
    def rows(self) -> list[list[str]]:
        """A row a place, all blocks first; above them a header."""
        rows = [["place", "taught", "behaviour", "report"]]
        for name, one in {"all": self.all_blocks, **self._named}.items():
            taught = f"{one.num_taught} of {one.num_learned}"
            report = interval_text(one.report) if self.has_reports else "-"
            rows.append([name, taught, interval_text(one.behaviour), report])
        return rows

    @property
    def _named(self) -> dict[str, AtPlace]:
        return {place.name: one for place, one in self.places.items()}

    def draw(self, path: str | Path) -> str:
        """Draw both maps side by side; what was written, or why it couldn't be.

        Places whose interval holds 0, or that have none, are faint.
        """
        return drawn(Path(path), self._figure)

    def _figure(self, path: Path | None = None) -> object:
        maps: dict[str, Callable[[AtPlace], Interval]] = {"behaviour": lambda one: one.behaviour}
        if self.has_reports:
            maps["report"] = lambda one: one.report
        blocks = sorted({place.numbers[0] for place in self.places})
        sites = sorted({place.site for place in self.places})
        found = {name: self._laid_out(of, blocks, sites) for name, of in maps.items()}
        return plots.layer_maps(
            {name: of[..., 0] for name, of in found.items()},
            blocks,
            sites,
            references={name: {"all": of(self.all_blocks).mean} for name, of in maps.items()},
            faint={name: ~((of[..., 1] > 0) | (of[..., 2] < 0)) for name, of in found.items()},
            path=path,
        )

    def _laid_out(
        self, of: Callable[[AtPlace], Interval], blocks: Sequence[int], sites: Sequence[str]
    ) -> Float[np.ndarray, "blocks sites 3"]:
        field = np.full((len(blocks), len(sites), 3), np.nan)
        for place, one in self.places.items():
            field[blocks.index(place.numbers[0]), sites.index(place.site)] = of(one)
        return field


def map_experiment(
    experiment: Experiment,
    model: ModelChoice | str,
    out: str | Path,
    *,
    grid: Grid | None = None,
    learning_rate: float | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> ExperimentMap:
    """Carry an experiment out in all blocks, and its adapters again in one place each.

    Started again, it goes on.

    Args:
        experiment: As for `run_experiment`.
        model: As there.
        out: The folder for all of it.
        grid: Which places; None: attention and MLP of each sixth block. Of it sites and single
            blocks count.
        learning_rate: Of single places, which take a higher one; None: the experiment's.
        batch_size: As for `run_experiment`.
        progress: Whether bars are shown.

    Raises:
        ConfigError: The experiment can't be carried out, or a folder holds another one.
        TargetingError: Sites or blocks that the model doesn't have.
        DistmatchError: What else can't be used.
    """
    choice = ModelChoice(name=model) if isinstance(model, str) else model
    folder, rate = Path(out), learning_rate or experiment.learning_rate
    experiment.check()
    check_no_adapters(experiment)
    check_folder(folder, "out")
    places = places_of(choice, grid or Grid(blocks=("every-6",)))
    of_all = UnitRuns(
        experiment=experiment,
        model=choice,
        folder=folder / WHOLE_FOLDER,
        batch_size=batch_size,
        progress=progress,
    )
    of_each = replace(of_all, arms=LEARNING_ARMS)
    with work(experiment.name, [*of_all.phases(), *of_each.phases() * len(places)], shown=progress):
        whole = run_experiment(
            experiment,
            choice,
            of_all.folder,
            batch_size=batch_size,
            progress=progress,
            tell=_untold,
        )
        found, is_asked = {}, whole.verdict.outcome in RESULTS
        for place in places:
            there = replace(
                of_each,
                acts_only=not is_asked,
                experiment=replace(experiment, target=place.name, learning_rate=rate),
                folder=folder / PLACES_FOLDER / place.name,
            )
            found[place] = _at_place(there, of_all.folder)
    mapped = ExperimentMap(whole=whole, places=found)
    write_text(folder / TABLE_FILE, f"{mapped}\n")
    return mapped


def check_no_adapters(experiment: Experiment) -> None:
    """Refuse adapters that are there already where others are to be trained in one place.

    Args:
        experiment: Whose.

    Raises:
        ConfigError: Which one is.
    """
    units = (unit for unit in experiment.units if unit.arm in LEARNING_ARMS)
    if given := [unit.name for unit in units if unit.adapter]:
        raise ConfigError(
            f"{given[0]} has an adapter that is there already, and can't be trained in one place: "
            "give rows"
        )


def behaviour_of(experiment: Experiment, measured: Measured) -> Interval:
    """How well what adapters do fits what was drawn for each, as a share of doing exactly that.

    Args:
        experiment: Theirs.
        measured: Their reports.
    """
    units = [u for u in experiment.units if u.arm in LEARNING_ARMS and u.name in measured]
    if len(units) < 2:
        return _NOTHING
    taught = [np.array(unit.behaviour) for unit in units]
    acted = [experiment.behaviour(measured[unit.name][ACTS]) for unit in units]
    exchange = Exchange.of(experiment.primary.fits(acted, taught), seed=experiment.seed)
    interval, _ = contrast_interval(experiment, exchange, taught, acted)
    return _share(interval, Exchange.of(experiment.truth(taught)).value)


def _share(interval: Interval, whole: float) -> Interval:
    return Interval(*(value / whole for value in interval)) if whole else _NOTHING


def _at_place(runs: UnitRuns, whole: Path) -> AtPlace:
    record = record_of(runs)
    check_record(runs.folder, record)
    with told_if_unwritable(runs.folder, "start it again: what is done is kept"):
        keep_record(runs.folder, record)
        with locked(runs.folder):
            _copy_texts(whole, runs.folder)
        measured = runs.carried_out()
        return AtPlace.of(runs.experiment, measured, is_asked=not runs.acts_only)


def _copy_texts(whole: Path, folder: Path) -> None:
    """What the base answers to neutral questions, or writes itself, is the same in every place."""
    for kept in (*whole.glob(f"{UNITS_FOLDER}/*/{FORMATS_FILE}"), *whole.glob(f"{TEXTS_FOLDER}/*")):
        into = folder / kept.relative_to(whole)
        if not into.is_file():
            with replacing(into) as part:
                shutil.copyfile(kept, part)


def places_of(choice: ModelChoice, grid: Grid) -> list[CellPlace]:
    """The places of a grid, one site and block each.

    Raises:
        TargetingError: Sites or blocks that the model doesn't have.
    """
    model = empty_model(load_config(choice.name), choice.quantization, torch.float32)
    places = dict.fromkeys(cell.place for cell in grid.cells(model, 1.0))
    return [place for place in places if len(place.numbers) == 1]


def _untold(_line: str) -> None:
    """What came of all blocks stands in the table of all places."""
