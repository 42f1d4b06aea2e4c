"""A sweep: one adapter a cell, all from the same base on the same data, each done once."""

import copy
import hashlib
import json
import math
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers.trainer_callback import PrinterCallback, TrainerCallback

from distmatch import __version__
from distmatch.data.batching import make_batch, make_text_batch
from distmatch.data.examples import Example
from distmatch.data.trie import TokenIds
from distmatch.errors import ConfigError, DivergedError
from distmatch.evals import Report, evaluate
from distmatch.evals.outcome import peak_rss_gb
from distmatch.losses.retention import retention_kl
from distmatch.models.adapters import switched_off
from distmatch.models.attaching import attached
from distmatch.models.base_record import write_base_record
from distmatch.models.trunk import Trunk
from distmatch.scoring import in_eval_mode, row_logits
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.flops import step_flops
from distmatch.sweeps.records import (
    append_result,
    base_report_path,
    claimed,
    own_folder,
    read_base,
    read_results,
)
from distmatch.sweeps.setting import Setting
from distmatch.trainer import DistributionTrainer

_TEXTS_A_FORWARD = 8
_CHECKED_EXAMPLES = 4
_BAR = "{desc} |{bar}| {percentage:3.0f}% [{elapsed}<{remaining}{postfix}]"


def run_cells(setting: Setting, cells: Sequence[Cell]) -> list[str]:
    """Run what isn't done yet and nobody else works on.

    Args:
        setting: What all cells have alike.
        cells: Those with the lowest blocks first, so that states below are computed once.

    Returns:
        The names of cells that others are at work on.

    Raises:
        OSError: The folder can't be written to, such as on a full disk.
    """
    _, wrong = read_results(setting.folder)
    for line in wrong:
        tqdm.write(line)
    num_blocks = setting.model.config.get_text_config().num_hidden_layers
    costs = {cell.name: num_blocks - cell.lowest + 1 for cell in cells}  # 1: the head, about
    measured = 2 * len(setting.texts) + sum(
        1 + len(example.rotated()) for examples in setting.tests.values() for example in examples
    )
    with (
        own_folder(setting.folder, "states") as states,
        tqdm(
            total=sum(costs.values()),
            initial=sum(costs.values()) - sum(costs[cell.name] for cell in _left(setting, cells)),
            bar_format=_BAR,
            disable=setting.args.disable_tqdm,
        ) as bar,
    ):
        below = _Below(setting, states)
        is_moving = True
        while is_moving:  # once more: others may have been killed at what they were at work on
            is_moving = False
            for cell in _left(setting, cells):
                with claimed(setting.folder, cell.name) as is_mine:
                    if not is_mine or cell not in _left(setting, [cell]):
                        continue
                    is_moving = True
                    bar.set_description(f"{cells.index(cell) + 1}/{len(cells)} {cell.name}")
                    with below.left_out(cell.lowest):
                        row = _run(setting, cell, _Passing(bar, costs[cell.name], measured))
                    append_result(setting.folder, row)
                left = _left(setting, cells)
                bar.n = sum(costs.values()) - sum(costs[cell.name] for cell in left)
                bar.refresh()
    return [cell.name for cell in _left(setting, cells)]


def _left(setting: Setting, cells: Sequence[Cell]) -> list[Cell]:
    """Those of which nothing has come yet, not even a failure."""
    done, _ = read_results(setting.folder)
    return [cell for cell in cells if cell.name not in done]


def measure_base(setting: Setting) -> None:
    """Leave the base's reports, measured once.

    Args:
        setting: Its model and examples.

    Raises:
        ConfigError: One that is there can't be read.
    """
    for name, examples in setting.tests.items():
        path = base_report_path(setting.folder, name)
        if path.exists():
            read_base(setting.folder, name)
        else:
            _measured(setting, setting.model, examples).save(path)


class _Below:
    """Leaves out what is below a cell's blocks, where that gives what whole forwards give."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self._setting = setting
        self._is_checked = False
        self._trunk: Trunk | None = None
        args = setting.args
        self._mixed = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
        bar = not args.disable_tqdm
        try:
            self._trunk = Trunk(
                setting.model, setting.trees, folder=folder, mixed=self._mixed, progress=bar
            )
        except ConfigError as error:
            self._give_up(error)

    def left_out(self, block: int) -> AbstractContextManager[None]:
        """Inside, forwards begin at the block; the first time that is held against whole ones."""
        if self._trunk is None or block == 0:
            return nullcontext()
        try:
            self._trunk.raise_to(block)
            if not self._is_checked:
                self._check(self._trunk)
        except ConfigError as error:
            self._give_up(error)
            return nullcontext()
        return self._trunk.installed()

    @torch.no_grad()
    def _check(self, trunk: Trunk) -> None:
        model, encoder = self._setting.model, self._setting.encoder
        tries = encoder.encode_all(self._setting.train[:_CHECKED_EXAMPLES])
        batch = make_batch(tries, encoder).to(model.device)
        for mixed in dict.fromkeys((None, self._mixed)):
            with in_eval_mode(model), torch.autocast(model.device.type, mixed, enabled=bool(mixed)):
                whole = row_logits(model, batch)
                with trunk.installed():
                    ours = row_logits(model, batch)
            difference = float((ours - whole).norm() / whole.norm())
            told = f"states kept up to block {trunk.block}: logits differ by {difference:.1e}"
            if not difference < math.sqrt(torch.finfo(mixed or model.dtype).eps):
                raise ConfigError(f"{told}, relative, which is too much")
            if not self._setting.args.disable_tqdm:
                tqdm.write(f"{told}, relative" + (f", in {mixed}" if mixed else ""))
        self._is_checked = True

    def _give_up(self, error: ConfigError) -> None:
        tqdm.write(f"{error}; every forward runs all blocks")
        self._trunk = None


class _Passing(TrainerCallback):
    """Moves the sweep's bar with a cell's steps, and leaves of it what measuring will take."""

    def __init__(self, bar: Any, cost: float, measured: int) -> None:
        self.bar, self.cost, self.measured = bar, cost, measured

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        size = args.train_batch_size * args.gradient_accumulation_steps
        step = 3 * size  # a backward is as dear as two forwards
        self.bar.update(self.cost * step / (state.max_steps * step + self.measured))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {name: f"{logs[name]:.3g}" for name in ("loss", "tvd") if name in (logs or {})}
        if shown:
            self.bar.set_postfix(shown)


def _run(setting: Setting, cell: Cell, callback: TrainerCallback) -> dict[str, Any]:
    """Train a cell and measure it; a run that diverges is recorded as failed."""
    start = time.perf_counter()
    row = {"cell": cell.name, **asdict(cell), **_made_with(setting, cell)}
    if setting.model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(setting.model.device)
    args = _args(setting, cell)
    shutil.rmtree(str(args.output_dir), ignore_errors=True)  # of a run that was cut short
    with attached(setting.model, cell.target, seed=cell.seed) as adapted:
        trainer = DistributionTrainer(
            model=adapted,
            processing_class=setting.tokenizer,
            args=args,
            train_dataset=setting.train,
            callbacks=[callback],
        )
        trainer.remove_callback(PrinterCallback)  # a line a cell, from what stands in for a bar
        try:
            trainer.train()
            row["steps"] = trainer.state.global_step
            row["train_seconds"] = time.perf_counter() - start
            row["peak_memory_gb"] = _peak_memory_gb(setting)
            row["flops"] = step_flops(trainer) * row["steps"]
            row |= _results(setting, adapted)
        except DivergedError as error:
            return row | {"failed": str(error)}
        adapted.save_pretrained(str(args.output_dir))  # alone: all cells have one tokenizer
        write_base_record(adapted, str(args.output_dir))
    row["seconds"] = time.perf_counter() - start
    return row


def _args(setting: Setting, cell: Cell) -> Any:
    args = copy.copy(setting.args)
    args.output_dir = str(setting.folder / "cells" / cell.name)
    args.seed, args.learning_rate = cell.seed, cell.learning_rate
    args.save_strategy, args.eval_strategy, args.eval_on_start = "no", "no", False
    args.disable_tqdm = True
    return args


def _made_with(setting: Setting, cell: Cell) -> dict[str, Any]:
    """What the result depends on, as a hash, and what it may."""
    config = json.dumps([setting.record, asdict(cell)], sort_keys=True)
    cuda = setting.model.device.type == "cuda"
    return {
        "config_hash": hashlib.sha256(config.encode()).hexdigest(),
        "versions": {"distmatch": __version__, **_versions()},
        "device": torch.cuda.get_device_name(setting.model.device)
        if cuda
        else f"CPU, {torch.get_num_threads()} threads, {platform.machine()}",
    }


@cache
def _versions() -> Mapping[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "peft")}


def _results(setting: Setting, adapted: Any) -> dict[str, Any]:
    """Metrics of all examples, and what changed on ordinary texts.

    Raises:
        DivergedError: Numbers that aren't finite, of weights that may be.
    """
    if not all(weight.isfinite().all() for weight in adapted.parameters() if weight.requires_grad):
        raise DivergedError("the adapter's numbers are not finite: lower learning_rate")
    kl = _kl(adapted, setting.texts)
    if not math.isfinite(kl):
        raise DivergedError(f"KL from the base is {kl} on ordinary texts: lower learning_rate")
    metrics = {
        name: _measured(setting, adapted, examples).to_json()["metrics"]
        for name, examples in setting.tests.items()
    }
    for name, of_examples in metrics.items():
        base = read_base(setting.folder, name)
        for metric, value in of_examples.items():
            if value["mean"] is None and base[metric]["mean"] is not None:
                raise DivergedError(f"{metric} of {name} is not finite: lower learning_rate")
    return {"metrics": metrics, "kl": kl}


def _measured(setting: Setting, model: Any, examples: Sequence[Example]) -> Report:
    size = setting.args.per_device_eval_batch_size
    return evaluate(model, setting.tokenizer, examples, batch_size=size, progress=False)


@torch.no_grad()
def _kl(model: Any, texts: Sequence[TokenIds]) -> float:
    """KL(base || adapted) of ordinary texts, nats a token."""
    per_token = []
    for start in range(0, len(texts), _TEXTS_A_FORWARD):
        batch = make_text_batch(texts[start : start + _TEXTS_A_FORWARD]).to(model.device)
        with in_eval_mode(model):
            ours = row_logits(model, batch)
            with switched_off(model):
                per_token.append(retention_kl(ours, row_logits(model, batch)).cpu())
    return float(torch.cat(per_token).mean()) if per_token else 0.0


def _peak_memory_gb(setting: Setting) -> float:
    """Of this cell's training on a GPU; without one, of the process up to now."""
    if setting.model.device.type == "cuda":
        return torch.cuda.max_memory_allocated(setting.model.device) / 1e9
    return peak_rss_gb()
