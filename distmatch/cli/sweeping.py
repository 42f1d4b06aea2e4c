"""`distmatch sweep`: everything that can be checked first, then a cell after the other."""

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
from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError, DataError, refused_together
from distmatch.models.footprint import empty_model
from distmatch.models.loading import load_config, named_dtype
from distmatch.runs.encodable import check_encodable
from distmatch.sweeps import Cell
from distmatch.sweeps import sweep as run_sweep
from distmatch.sweeps.reading import read_sweep
from distmatch.sweeps.records import read_results
from distmatch.sweeps.setting import SETTINGS_FILE, check_rates, measured_examples
from distmatch.trainer import check_output_dir, check_targets

_DRAWN_FOR_ONE = 8  # where prompts are few, most of those drawn are known


def sweep(path: str | Path, overrides: Sequence[str] = ()) -> None:
    """Sweep as a run file says; started again, it goes on.

    Args:
        path: The run file.
        overrides: Settings instead of the file's, each as `section.key=value`.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known.
    """
    run = read_sweep_run(path, overrides)
    check_folder(run.folder)
    train, tests, tuning = _all_examples(run)
    check_targets(run.config, train)
    check_encodable(run.model, train, measured_examples(tests, tuning, train))
    cells = planned_cells(run)
    if tuning is None:
        check_rates(run.folder, cells)
    print(_told(run, cells))
    model, tokenizer = run.model.load()
    is_new = not (run.folder / SETTINGS_FILE).exists()
    if is_new:  # later ones only once the folder is known to take them
        run.save(run.folder / RUN_FILE)
    swept = run_sweep(
        model,
        tokenizer,
        train_dataset=train,
        eval_datasets=tests,
        tuning_dataset=tuning,
        args=run.config,
        grid=run.grid,
    )
    if not is_new:
        run.save(run.folder / RUN_FILE)
    print(swept)


def show(folder: str | Path) -> None:
    """Print and draw what is finished of a sweep.

    Args:
        folder: The sweep's.

    Raises:
        ConfigError: The folder holds no sweep.
    """
    print(read_sweep(folder))


def planned_cells(run: SweepRun) -> list[Cell]:
    """The cells of the run's grid, by the model's config alone.

    Raises:
        LoadError: There is no such model.
        ConfigError: Blocks that can't be read.
        TargetingError: Blocks or sites that the model doesn't have.
    """
    dtype = torch.float32 if run.model.dtype is None else named_dtype(run.model.dtype)
    model = empty_model(load_config(run.model.name), run.model.quantization, dtype)
    return run.grid.cells(model, run.config.learning_rate)


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than a sweep.

    Raises:
        ConfigError: It holds a run, checkpoints or an adapter.
    """
    if (folder / SETTINGS_FILE).exists():
        return
    kept = folder / RUN_FILE
    if kept.is_file() and "sweep" not in tomllib.loads(kept.read_text(encoding="utf-8")):
        raise ConfigError(f"{folder} holds another run: choose another train.output_dir")
    try:
        check_output_dir(folder, resume=False)
    except ConfigError as error:  # its remedy is Python's
        raise ConfigError(
            f"{folder} holds checkpoints or an adapter of another run: "
            "choose another train.output_dir"
        ) from error


def _all_examples(
    run: SweepRun,
) -> tuple[list[Example], dict[str, list[Example]], list[Example] | None]:
    """Those to train on, to report on (first those of [data]) and to choose learning rates by."""
    sections = {TEST: run.data, **run.transfers}
    steps: list[Callable[[], Any]] = [
        partial(section_examples, section) for section in sections.values()
    ]
    if run.tuning is not None:
        steps.append(partial(_tuning_rows, run.tuning, run.data))
    drawn = refused_together(steps)
    train = drawn[0][0]
    tests = {name: test for name, (_, test) in zip(sections, drawn, strict=False)}
    if run.tuning is None:
        return train, tests, None
    if "task" not in run.tuning:
        return train, tests, drawn[-1]
    known = {fingerprint(row.prompt) for rows in (train, *tests.values()) for row in rows}
    wanted = run.tuning["n_test"]
    tuning = [row for row in drawn[-1] if fingerprint(row.prompt) not in known][:wanted]
    if len(tuning) < wanted:
        raise ConfigError(
            f"tuning.n_test is {wanted}, but of {len(drawn[-1])} rows drawn for it only "
            f"{len(tuning)} have prompts that aren't in [data] or a transfer: ask for fewer"
        )
    return train, tests, tuning


def _tuning_rows(section: Mapping[str, Any], data: Mapping[str, Any]) -> list[Example]:
    """Test rows; of a task many more than are wanted, since the first may be those of [data]."""
    if "task" not in section:
        return section_examples(section)[1]
    if section["n_test"] < 1:
        raise DataError(f"tuning.n_test is {section['n_test']}, expected at least 1")
    num_drawn = data.get("n_test", 0) + _DRAWN_FOR_ONE * section["n_test"]
    return section_examples({**section, "n_test": num_drawn})[1]


def _told(run: SweepRun, cells: Sequence[Cell]) -> str:
    done, _ = read_results(run.folder)
    finished = sum(cell.name in done for cell in cells)
    sizes = [cell.parameters for cell in cells]
    rates = sorted({cell.learning_rate for cell in cells})
    return (
        f"{len(cells)} cells of {min(sizes):,} to {max(sizes):,} LoRA parameters, at "
        f"{'the learning rates' if len(rates) > 1 else 'learning rate'} "
        f"{', '.join(map(str, rates))}, in {run.folder}; "
        f"{finished} of them are finished"
    )
