"""`distmatch sweep`: the plan of a run file, checked, then a cell after the other."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from distmatch.cli.run_files import TEST, SweepRun, read_sweep_run
from distmatch.cli.sources import section_examples
from distmatch.cli.training import RUN_FILE
from distmatch.data import Example
from distmatch.errors import ConfigError, refused_together
from distmatch.models.footprint import empty_model
from distmatch.models.loading import load_config, named_dtype
from distmatch.progress import work
from distmatch.runs.encodable import check_encodable
from distmatch.sweeps import write_report
from distmatch.sweeps.folder import SETTINGS_FILE, WORKERS_FOLDER
from distmatch.sweeps.layer_sweep import carry_out, kinds
from distmatch.sweeps.plan import Plan
from distmatch.sweeps.tuning import spare_rows, unknown_rows


def run_sweep(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    workers: Callable[[Path], None] | None = None,
) -> None:
    """Sweep as a run file says; started again, it goes on.

    Args:
        path: The run file.
        overrides: Settings instead of the file's, each as `section.key=value`.
        workers: Lets others do it, given a folder for their logs; then it is only shown.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known. Or a
            worker ended with an error.
    """
    run = read_sweep_run(path, overrides)
    _refuse_other_run(run.folder)
    plan = sweep_plan(run)
    check_encodable(run.model, plan.train, plan.sets.named())
    print(plan)
    if workers:
        workers(run.folder / WORKERS_FOLDER)
        print(write_report(run.folder))
        return
    with work(str(run.folder), kinds(plan), shown=not run.config.disable_tqdm):
        model, tokenizer = run.model.load()
        is_new = not (run.folder / SETTINGS_FILE).exists()
        if is_new:  # later ones only once the folder is known to take them
            run.save(run.folder / RUN_FILE)
        swept = carry_out(plan, model, tokenizer)
    if not is_new:
        run.save(run.folder / RUN_FILE)
    print(swept)


def show_sweep(folder: str | Path) -> None:
    """Print and draw what is finished of a sweep.

    Args:
        folder: The sweep's.

    Raises:
        ConfigError: The folder holds no sweep.
    """
    print(write_report(folder))


def sweep_plan(run: SweepRun) -> Plan:
    """The plan of a run file, by the model's config alone.

    Args:
        run: What the file says.

    Raises:
        LoadError: There is no such model.
        DataError: Rows that can't be drawn or read.
        ConfigError: As `Plan`, or fewer rows to choose learning rates by than are asked for.
        TargetingError: Blocks or sites that the model doesn't have.
    """
    dtype = torch.float32 if run.model.dtype is None else named_dtype(run.model.dtype)
    train, reported, tuning = _drawn(run)
    return Plan.of(
        empty_model(load_config(run.model.name), run.model.quantization, dtype),
        train_dataset=train,
        eval_datasets=reported,
        tuning_dataset=tuning,
        args=run.config,
        grid=run.grid,
        num_texts=run.num_texts,
        suites=run.suites,
    )


def _refuse_other_run(folder: Path) -> None:
    kept = folder / RUN_FILE
    if kept.is_file() and "sweep" not in tomllib.loads(kept.read_text(encoding="utf-8")):
        raise ConfigError(f"{folder} holds another run: choose another train.output_dir")


def _drawn(run: SweepRun) -> tuple[list[Example], dict[str, list[Example]], list[Example] | None]:
    """Those to train on, to report on (first those of [data]) and to choose learning rates by."""
    sections = {TEST: run.data, **run.transfers}
    steps: list[Callable[[], Any]] = [
        partial(section_examples, section) for section in sections.values()
    ]
    if run.tuning is not None:
        steps.append(partial(_tuning_rows, run.tuning, run.data))
    drawn = refused_together(steps)
    train = drawn[0][0]
    reported = {name: test for name, (_, test) in zip(sections, drawn, strict=False)}
    if run.tuning is None:
        return train, reported, None
    tuning = drawn[-1]
    if "task" in run.tuning:
        tuning = unknown_rows(tuning, run.tuning["n_test"], [train, *reported.values()])
    return train, reported, tuning


def _tuning_rows(section: Mapping[str, Any], data: Mapping[str, Any]) -> Sequence[Example]:
    """A file's, or of a task those to take some from."""
    if "task" not in section:
        return section_examples(section)[1]
    return spare_rows(
        lambda count: section_examples({**section, "n_test": count})[1],
        section["n_test"],
        data.get("n_test", 0),
    )
