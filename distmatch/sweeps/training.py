"""A cell: one adapter, trained on the base as a run of its own would be, and measured."""

import copy
import hashlib
import json
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_callback import PrinterCallback, TrainerCallback

from distmatch import __version__
from distmatch.errors import DivergedError
from distmatch.evals.store import REPORT_FILE
from distmatch.models.attaching import attached
from distmatch.models.base_record import write_base_record
from distmatch.runs.outcome import peak_rss_gb
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.conditions import Conditions
from distmatch.sweeps.flops import step_flops
from distmatch.sweeps.folder import CELLS_FOLDER, SUITES_FOLDER
from distmatch.sweeps.measures import measured_cell
from distmatch.sweeps.results import Result, Training
from distmatch.trainer import DistributionTrainer


def trained_cell(conditions: Conditions, cell: Cell, callback: TrainerCallback) -> Result:
    """What comes of a cell, whose adapter is left in its folder; one that diverges has failed.

    Args:
        conditions: Those of all cells.
        cell: What to train.
        callback: Of its trainer.
    """
    start = time.perf_counter()
    made = _made_with(conditions, cell)
    folder = conditions.folder / CELLS_FOLDER / cell.name
    for left in (folder, conditions.folder / SUITES_FOLDER / cell.name):
        shutil.rmtree(left, ignore_errors=True)  # of a run that was cut short
    if conditions.model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(conditions.model.device)
    training = None
    with attached(conditions.model, cell.target, seed=cell.seed) as adapted:
        trainer = _trainer(conditions, adapted, _args(conditions, cell, folder), callback)
        try:
            trainer.train()
            training = _training(conditions, trainer, start)
            measures, report = measured_cell(conditions, adapted)
        except DivergedError as error:
            return Result(cell=cell, **made, training=training, failed=str(error))
        adapted.save_pretrained(str(folder))  # alone: all cells have one tokenizer
        write_base_record(adapted, str(folder))
        report.save(folder / REPORT_FILE)
    seconds = time.perf_counter() - start
    return Result(cell=cell, **made, training=training, measures=measures, seconds=seconds)


def _made_with(conditions: Conditions, cell: Cell) -> dict[str, Any]:
    """What the result depends on, as a hash, and what it may."""
    config = json.dumps([conditions.record, asdict(cell)], sort_keys=True)
    device = conditions.model.device
    return {
        "config_hash": hashlib.sha256(config.encode()).hexdigest(),
        "versions": {"distmatch": __version__, **_versions()},
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads, {platform.machine()}",
    }


@cache
def _versions() -> Mapping[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "peft")}


def _args(conditions: Conditions, cell: Cell, folder: Path) -> Any:
    args = copy.copy(conditions.args)
    args.output_dir = str(folder)
    args.seed, args.learning_rate = cell.seed, cell.learning_rate
    args.save_strategy, args.eval_strategy, args.eval_on_start = "no", "no", False
    args.disable_tqdm = True
    return args


def _trainer(
    conditions: Conditions, adapted: Any, args: Any, callback: TrainerCallback
) -> DistributionTrainer:
    trainer = DistributionTrainer(
        model=adapted,
        processing_class=conditions.tokenizer,
        args=args,
        train_dataset=conditions.train,
        callbacks=[callback],
    )
    trainer.remove_callback(PrinterCallback)  # a line a cell, from what stands in for a bar
    return trainer


def _training(conditions: Conditions, trainer: DistributionTrainer, start: float) -> Training:
    """What it took since the start."""
    steps = trainer.state.global_step
    return Training(
        steps=steps,
        train_seconds=time.perf_counter() - start,
        peak_memory_gb=_peak_memory_gb(conditions),
        flops=step_flops(trainer) * steps,
    )


def _peak_memory_gb(conditions: Conditions) -> float:
    """Of this cell's training on a GPU; without one, of the process up to now."""
    device = conditions.model.device
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return peak_rss_gb()
