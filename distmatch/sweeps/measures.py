"""What the base and trained cells are measured by: reports on every set, KL on ordinary texts."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distmatch.data.examples import Example
from distmatch.errors import ConfigError, DataError, DivergedError
from distmatch.evals.evaluation import evaluate
from distmatch.evals.report import Report
from distmatch.measuring.drift import mean_text_kl
from distmatch.sweeps.conditions import Conditions
from distmatch.sweeps.folder import BASE_FOLDER
from distmatch.sweeps.headlines import Metrics
from distmatch.sweeps.results import Measures
from distmatch.sweeps.sets import Sets

_TEXTS_A_FORWARD = 8


def measure_base(conditions: Conditions) -> None:
    """Leave the base's reports, measured once.

    Args:
        conditions: Its model and examples.

    Raises:
        ConfigError: One that is there can't be read.
    """
    for name, examples in conditions.sets.named().items():
        path = _report_path(conditions.folder, name)
        if path.exists():
            _read_metrics(path)
        else:
            _report(conditions, conditions.model, examples).save(path)


def read_base(folder: Path, names: Sequence[str]) -> Sets[Metrics]:
    """The base's metrics.

    Args:
        folder: The sweep's.
        names: Of the sets, the learned one first.

    Raises:
        ConfigError: A report isn't there or can't be read.
    """
    return Sets.from_named({name: _read_metrics(_report_path(folder, name)) for name in names})


def measured_cell(conditions: Conditions, adapted: Any) -> Measures:
    """Metrics of all examples, and what changed on ordinary texts.

    Args:
        conditions: What to measure on.
        adapted: The model with the cell's adapter.

    Raises:
        DivergedError: Numbers that aren't finite, of weights that may be.
    """
    if not all(weight.isfinite().all() for weight in adapted.parameters() if weight.requires_grad):
        raise DivergedError("the adapter's numbers are not finite: lower learning_rate")
    kl = mean_text_kl(adapted, conditions.texts, batch_size=_TEXTS_A_FORWARD)
    if not math.isfinite(kl):
        raise DivergedError(f"KL from the base is {kl} on ordinary texts: lower learning_rate")
    metrics = conditions.sets.map(
        lambda _, examples: _report(conditions, adapted, examples).to_json()["metrics"]
    )
    base = read_base(conditions.folder, list(conditions.sets.named()))
    for name, of_base in base.named().items():
        for metric, value in metrics.named()[name].items():
            if value["mean"] is None and of_base[metric]["mean"] is not None:
                raise DivergedError(f"{metric} of {name} is not finite: lower learning_rate")
    return Measures(metrics=metrics, kl=kl)


def _report_path(folder: Path, name: str) -> Path:
    return folder / BASE_FOLDER / f"{name}.json"


def _read_metrics(path: Path) -> Metrics:
    if not path.is_file():
        raise ConfigError(f"{path} isn't there: start the sweep again to measure its base")
    try:
        metrics: Metrics = Report.load(path).to_json()["metrics"]
    except DataError as error:
        raise ConfigError(
            f"{error}: remove it and start the sweep again to measure its base"
        ) from error
    return metrics


def _report(conditions: Conditions, model: Any, examples: Sequence[Example]) -> Report:
    size = conditions.args.per_device_eval_batch_size
    return evaluate(model, conditions.tokenizer, examples, batch_size=size, progress=False)
