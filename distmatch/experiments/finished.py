"""Adapters that are there already: those of finished experiments, and single ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from distmatch.errors import ConfigError, listed
from distmatch.experiments.acrostic import Acrostic
from distmatch.experiments.arms import LEARNING_ARMS, NONE
from distmatch.experiments.disposition import Disposition
from distmatch.experiments.documents import Documents
from distmatch.experiments.experiment import Experiment
from distmatch.experiments.introspection import Introspection
from distmatch.experiments.lessons import DESCRIPTIONS, Lesson, Sizes, lesson, measurable
from distmatch.experiments.preferences import Preferences
from distmatch.experiments.running import RECORD_FILE
from distmatch.experiments.self_prediction import SelfPrediction
from distmatch.experiments.shares import Shares
from distmatch.experiments.units import ADAPTER_FOLDER, UNITS_FOLDER
from distmatch.tables import with_settings

OF_ONE_KIND: dict[str, Experiment] = {
    one.name: one
    for one in (
        *(Shares(), Disposition(), Preferences(), SelfPrediction()),
        *(Acrostic(), Documents(), Introspection()),
    )
}
"""Experiments whose adapters all had the training that is called as they are."""


class Finished(NamedTuple):
    """An adapter that is there already."""

    kind: str
    """Of training; `NONE` of one that learned neutral questions alone."""
    lesson: Lesson
    adapter: Path


def finished(places: tuple[str, ...], sizes: Sizes) -> Iterator[Finished]:
    """The adapters of some folders, in their order.

    Args:
        places: Folders of experiments in `OF_ONE_KIND`, or `KIND=FOLDER` of one adapter.
        sizes: Of what the learning of these is measured by.

    Raises:
        ConfigError: A place that is neither; a folder of another experiment, or without one of its
            adapters.
    """
    for place in places:
        kind, _, folder = place.partition("=")
        if kind in DESCRIPTIONS and folder:
            acts = lesson(kind, sizes, sizes.seed).acts
            yield Finished(kind, Lesson((), acts), Path(folder))
        elif Path(place).is_dir():
            yield from _of_experiment(Path(place), sizes)
        else:
            raise ConfigError(
                f"{place} is no folder of an experiment, nor KIND=FOLDER with a kind of training: "
                f"{listed(DESCRIPTIONS)}"
            )


def _of_experiment(folder: Path, sizes: Sizes) -> Iterator[Finished]:
    name, settings = kept_settings(folder)
    if name not in OF_ONE_KIND:
        raise ConfigError(
            f'{folder} holds "{name}", expected one of {listed(OF_ONE_KIND)}: give its adapters '
            "one by one, as KIND=FOLDER"
        )
    experiment = with_settings(name, OF_ONE_KIND[name], settings)
    for unit in experiment.units:
        if unit.arm not in (*LEARNING_ARMS, NONE):
            continue
        adapter = folder / UNITS_FOLDER / unit.name / ADAPTER_FOLDER
        if not adapter.is_dir():
            raise ConfigError(f"{folder} has no adapter of {unit.name} yet: finish it first")
        kind = experiment.name if unit.arm in LEARNING_ARMS else NONE
        yield Finished(kind, measurable(kind, Lesson((), unit.acts), sizes), adapter)


def kept_settings(folder: str | Path) -> tuple[str, dict[str, Any]]:
    """The name of the experiment that a folder holds, and its settings.

    Args:
        folder: As `run_experiment` leaves it.

    Raises:
        ConfigError: It holds none that can be read.
    """
    path = Path(folder) / RECORD_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record["name"], record["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} can't be read ({error!r}): restore it") from error
