"""Many models on the same suites: what base and instruct differ in, and what grows with size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from distmatch.evals.comparing import compare, on_shared_items
from distmatch.evals.intervals import Interval
from distmatch.evals.items import Answers
from distmatch.evals.report import Report, text_table

KINDS = ("base", "instruct")
_FEWEST_FOR_A_TREND = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """A model that was measured."""

    name: str
    """Of its family; base and instruct share it."""
    size: float
    """Billions of parameters."""
    kind: str
    """`"base"` or `"instruct"`."""
    reports: Mapping[str, Report]
    """By suite."""


class Column(NamedTuple):
    """A metric of a suite."""

    suite: str
    metric: str


def columns(models: Sequence[Measured]) -> list[Column]:
    """The metrics that tell: TVD and control of answers, of other suites the first there is."""
    found: dict[Column, None] = {}
    for model in models:
        for suite, report in model.reports.items():
            is_answers = isinstance(report.examples, Answers)
            metrics = ("tvd", "control_tvd") if is_answers else list(report.metrics)[:1]
            found.update(dict.fromkeys(Column(suite, metric) for metric in metrics))
    return list(found)


def model_table(models: Sequence[Measured]) -> str:
    """A row a model with each metric; after a family's two models, how base differs from instruct.

    Differences are paired, on the items that both were asked.
    """
    metrics = columns(models)
    rows = [["model", "size", "", *(" ".join(column) for column in metrics)]]
    families: dict[str, dict[str, Measured]] = {}
    for model in models:
        families.setdefault(model.name, {})[model.kind] = model
    for name, family in families.items():
        for kind, model in family.items():
            values = [_value(model, column) for column in metrics]
            rows.append([name, f"{model.size:g}B", kind, *map(_shown, values)])
        if set(KINDS) <= set(family):
            base, instruct = (family[kind] for kind in KINDS)
            differences = [_difference(base, instruct, column) for column in metrics]
            rows.append(["", "", "base - instruct", *map(_shown, differences)])
    return text_table(rows)


def trend_table(models: Sequence[Measured]) -> str:
    """Spearman's rank correlation of size and each metric, over base and over instruct models."""
    metrics = columns(models)
    rows = [["rank correlation with size", "models", *(" ".join(column) for column in metrics)]]
    for kind in KINDS:
        some = [model for model in models if model.kind == kind]
        rows.append([kind, str(len(some)), *(_trend(some, column) for column in metrics)])
    return text_table(rows)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: Pearson's correlation of the ranks, ties with their mean rank; NaN without any.

    Args:
        first: Values.
        second: As many.
    """
    ranks = np.stack([_ranks(first), _ranks(second)])
    if (np.ptp(ranks, axis=1) == 0).any():
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    below = (array[:, None] > array).sum(1)
    return below + ((array[:, None] == array).sum(1) - 1) / 2


def _value(model: Measured, column: Column) -> Interval | None:
    report = model.reports.get(column.suite)
    return None if report is None else report.metrics.get(column.metric)


def _difference(base: Measured, instruct: Measured, column: Column) -> Interval | None:
    """Base minus instruct."""
    if not all(column.suite in model.reports for model in (base, instruct)):
        return None
    reports = {model.kind: model.reports[column.suite] for model in (instruct, base)}
    shared = on_shared_items(reports)
    return compare(shared["instruct"], shared["base"]).get(column.metric)


def _trend(models: Sequence[Measured], column: Column) -> str:
    pairs = [
        (model.size, value.mean) for model in models if (value := _value(model, column)) is not None
    ]
    if len({size for size, _ in pairs}) < _FEWEST_FOR_A_TREND:
        return "-"
    return f"{rank_correlation(*zip(*pairs, strict=True)):+.2f}"


def _shown(value: Interval | None) -> str:
    return "-" if value is None else str(value)
