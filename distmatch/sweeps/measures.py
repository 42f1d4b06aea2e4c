"""What the base and trained cells are measured by: reports on every set, KL on ordinary texts."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distmatch.errors import ConfigError, DataError, DivergedError
from distmatch.evals.local import LocalModel
from distmatch.evals.report import Report
from distmatch.evals.store import REPORT_FILE, Store
from distmatch.evals.suite import measure
from distmatch.evals.suites import OwnExamples
from distmatch.measuring.drift import TEXTS_A_FORWARD, mean_text_kl
from distmatch.sweeps.conditions import Conditions
from distmatch.sweeps.folder import BASE_FOLDER
from distmatch.sweeps.headlines import Metrics
from distmatch.sweeps.results import Measures
from distmatch.sweeps.sets import Sets


def measure_base(conditions: Conditions) -> None:
    """Leave the base's reports, measured once.

    Args:
        conditions: Its model and examples.

    Raises:
        ConfigError: One that is there can't be read, or is of something else.
    """
    store = Store(conditions.folder / BASE_FOLDER)
    for name, examples in conditions.sets.named().items():
        suite = OwnExamples(rows=examples)
        settings = {**conditions.record["base"], **suite.record()}
        with _base_to_be_measured_again():
            is_there = store.find(name, settings) is not None
        if not is_there:
            store.keep(name, _report(conditions, conditions.model, suite), settings)


def read_base(folder: Path, names: Sequence[str]) -> Sets[Metrics]:
    """The base's metrics.

    Args:
        folder: The sweep's.
        names: Of the sets, the learned one first.

    Raises:
        ConfigError: A report isn't there or can't be read.
    """
    return Sets.from_named({name: _read_metrics(folder, name) for name in names})


def measured_cell(conditions: Conditions, adapted: Any) -> tuple[Measures, Report]:
    """Metrics of all examples, and what changed on ordinary texts.

    Args:
        conditions: What to measure on.
        adapted: The model with the cell's adapter.

    Returns:
        What its line has, and the report on the learned set.

    Raises:
        DivergedError: Numbers that aren't finite, of weights that may be.
    """
    if not all(weight.isfinite().all() for weight in adapted.parameters() if weight.requires_grad):
        raise DivergedError("the adapter's numbers are not finite: lower learning_rate")
    kl = mean_text_kl(adapted, conditions.texts, batch_size=TEXTS_A_FORWARD)
    if not math.isfinite(kl):
        raise DivergedError(f"KL from the base is {kl} on ordinary texts: lower learning_rate")
    reports = conditions.sets.map(
        lambda _, examples: _report(conditions, adapted, OwnExamples(rows=examples))
    )
    metrics: Sets[Metrics] = reports.map(lambda _, report: report.to_json()["metrics"])
    base = read_base(conditions.folder, list(conditions.sets.named()))
    for name, of_base in base.named().items():
        for metric, value in metrics.named()[name].items():
            if value["mean"] is None and of_base[metric]["mean"] is not None:
                raise DivergedError(f"{metric} of {name} is not finite: lower learning_rate")
    return Measures(metrics=metrics, kl=kl), reports.learned


def _read_metrics(folder: Path, name: str) -> Metrics:
    path = folder / BASE_FOLDER / name / REPORT_FILE
    if not path.is_file():  # of a sweep begun before reports had folders
        path = folder / BASE_FOLDER / f"{name}.json"
    if not path.is_file():
        raise ConfigError(f"{path} isn't there: start the sweep again to measure its base")
    with _base_to_be_measured_again():
        metrics: Metrics = Report.load(path).to_json()["metrics"]
    return metrics


@contextmanager
def _base_to_be_measured_again() -> Iterator[None]:
    """Inside, what is wrong with a report says how it is mended here."""
    try:
        yield
    except DataError as error:
        raise ConfigError(
            f"{error}: remove it and start the sweep again to measure its base"
        ) from error


def _report(conditions: Conditions, model: Any, suite: OwnExamples) -> Report:
    subject = LocalModel(
        model=model,
        tokenizer=conditions.tokenizer,
        batch_size=conditions.args.per_device_eval_batch_size,
        progress=not conditions.args.disable_tqdm,
    )
    return measure(subject, suite)
