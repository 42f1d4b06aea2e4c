"""`distmatch experiment`: a ready one by its name, or one of yours from a file."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from distmatch.cli.reporting import left_page
from distmatch.data.examples import Prompt
from distmatch.errors import ConfigError, unknown_name
from distmatch.experiments import (
    EXPERIMENTS,
    Experiment,
    map_experiment,
    read_experiment,
    run_experiment,
)
from distmatch.experiments.arms import ARMS
from distmatch.experiments.dry_run import longest_rows, most_texts, prompts_of
from distmatch.experiments.page import experiment_page, places_page
from distmatch.experiments.places import MAPS_FILE, WHOLE_FOLDER, check_no_adapters, places_of
from distmatch.experiments.running import checked
from distmatch.experiments.units import UnitRuns
from distmatch.models.choice import ModelChoice
from distmatch.models.loading import load_config
from distmatch.models.lora import lora
from distmatch.planning import memory_plan
from distmatch.sweeps import Grid
from distmatch.sweeps.folder import WORKERS_FOLDER
from distmatch.tables import read_override, with_settings

_NOT_SHOWN = "a suite that asks for more than probabilities of words, such as what a model writes"


def perform_experiment(
    experiment: Experiment,
    model: ModelChoice,
    out: Path,
    *,
    arms: Sequence[str] = (),
    batch_size: int = 32,
    workers: Callable[[Path], None] | None = None,
) -> None:
    """Carry out an experiment.

    Args:
        experiment: As of `chosen_experiment`.
        model: Of whom.
        out: The folder.
        arms: Those to carry out; none: all.
        batch_size: Prompts a forward where units are asked.
        workers: Lets others do it, given a folder for their logs; then it is only shown.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known.
    """
    runs = UnitRuns(
        experiment=experiment, model=model, folder=out, batch_size=batch_size, arms=tuple(arms)
    )
    if workers:
        checked(runs)
        workers(out / WORKERS_FOLDER)
    outcome = run_experiment(experiment, model, out, arms=runs.arms, batch_size=batch_size)
    print(left_page(out, lambda: experiment_page(outcome)))


def map_places(
    experiment: Experiment,
    model: ModelChoice,
    out: Path,
    grid: Grid,
    *,
    learning_rate: float | None = None,
    batch_size: int = 32,
    workers: Callable[[Path], None] | None = None,
) -> None:
    """Carry out an experiment in all blocks and in one place each, and draw both maps.

    Args:
        experiment: As of `chosen_experiment`.
        model: Of whom.
        out: The folder.
        grid: Which places.
        learning_rate: Of single places; None: the experiment's.
        batch_size: Prompts a forward where units are asked.
        workers: As for `perform_experiment`.

    Raises:
        DistmatchError: What can't be used.
    """
    if workers:
        folder = out / WHOLE_FOLDER
        checked(UnitRuns(experiment=experiment, model=model, folder=folder, batch_size=batch_size))
        check_no_adapters(experiment)
        places_of(model, grid)
        workers(out / WORKERS_FOLDER)
    mapped = map_experiment(
        experiment, model, out, grid=grid, learning_rate=learning_rate, batch_size=batch_size
    )
    print(mapped)
    print(mapped.draw(out / MAPS_FILE))
    print(left_page(out, lambda: places_page(mapped)))


def show_prompts(experiment: Experiment, model: ModelChoice) -> None:
    """Print rule, arms, every prompt, and what a step takes; trains and loads nothing.

    Args:
        experiment: As of `chosen_experiment`.
        model: Of whom.

    Raises:
        DistmatchError: What can't be used.
    """
    experiment.check()
    print(f"{experiment.question}\nrefuted if {experiment.rule}\n")
    for arm in experiment.arms:
        units = [unit.name for unit in experiment.units if unit.arm == arm]
        print(f"{arm}, {len(units)}: {ARMS[arm]}")
    alike: dict[str, list[str]] = {}  # most units are asked the same
    for heading, prompts in prompts_of(experiment).items():
        shown = "".join(f"{_as_text(prompt)}\n--\n" for prompt in prompts)
        alike.setdefault(shown or f"(not shown: {_NOT_SHOWN})\n", []).append(heading)
    for shown, headings in alike.items():
        print(f"== {'; '.join(headings)}\n{shown}", end="")
    if not (rows := longest_rows(experiment)):
        print("nothing is trained: all adapters are there already")
        return
    texts = most_texts(experiment)
    plan = memory_plan(
        model.name,
        rows,
        lora(experiment.target, rank=experiment.rank),
        quantization=model.quantization,
        dtype=model.dtype or load_config(model.name).dtype or torch.float32,
        retention=texts,
    )
    beside = f", and {texts[0]} texts of {texts[1]} tokens" if texts[0] else ""
    print(f"a step of {experiment.batch_size} of the longest rows{beside}:\n{plan}")


def chosen_experiment(
    what: str, overrides: Sequence[str] = (), *, size: str = "full"
) -> Experiment:
    """The experiment of a command line.

    Args:
        what: A name of `EXPERIMENTS`, or a TOML file.
        overrides: Settings, each as `key=value`; of a file's as `section.key=value`.
        size: "full", or "quick" for fewer of all.

    Raises:
        ConfigError: There is none of that name, or a setting that can't be used.
        DataError: Rows of a file that can't be used.
    """
    if what.endswith(".toml"):
        if size == "quick":
            raise ConfigError("--quick is for experiments by name: a file says its own sizes")
        return read_experiment(what, overrides)
    if what not in EXPERIMENTS:
        known = unknown_name("experiment", what, EXPERIMENTS)
        raise ConfigError(f"{known} Or give a file of yours, ending in .toml")
    experiment = EXPERIMENTS[what]
    if size == "quick":
        experiment = replace(experiment, **experiment.quick)
    told = {key: value for _, key, value in (read_override(f"{what}.{x}") for x in overrides)}
    return with_settings(what, experiment, told)


def _as_text(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"[{message['role']}] {message['content']}" for message in prompt)
