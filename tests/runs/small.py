"""A run of a tiny model, and what is in its folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from distmatch.data import output_control
from distmatch.evals.suites import OwnExamples
from distmatch.models.choice import ModelChoice
from distmatch.models.lora import lora
from distmatch.runs import Run
from distmatch.trainer import DistributionConfig

TRAIN, TEST = output_control(n=16, n_test=5, words=2)
GROUPED = [replace(row, metadata={"group": f"g{number % 2}"}) for number, row in enumerate(TRAIN)]


@dataclass(frozen=True, kw_only=True)
class Grouped(OwnExamples):
    """Examples in groups, under another name."""

    name: ClassVar[str] = "grouped"


def config(folder: Path, **changes) -> DistributionConfig:
    settings = {
        "max_steps": 4,
        "save_steps": 2,
        "logging_steps": 1,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return DistributionConfig(output_dir=str(folder), **(settings | changes))


def small_run(model: Path, folder: Path, *, told: dict | None = None, **changes) -> Run:
    """A run, with some of its fields and of its settings (`told`) changed."""
    fields = {
        "model": ModelChoice(name=str(model)),
        "config": config(folder, **(told or {})),
        "train": TRAIN,
        "suites": (OwnExamples(rows=TEST), Grouped(rows=GROUPED[:6])),
        "lora": lora("all", rank=4),
    }
    return Run(**(fields | changes))
