"""Many models on the same suites: what base and instruct differ in, and what grows with size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from distmatch.errors import DataError
from distmatch.evals.comparison import compare, on_shared_items
from distmatch.evals.report import Report, text_table
from distmatch.evals.suite import Suite
from distmatch.measuring.correlation import permutation_p, rank_correlation
from distmatch.measuring.intervals import Interval

KINDS = ("base", "instruct")
_FEWEST_FOR_A_TREND = 3


@dataclass(frozen=True, slots=True)
class MeasuredModel:
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


def columns(models: Sequence[MeasuredModel], suites: Sequence[Suite]) -> list[Column]:
    """The metrics by which models are compared, of the suites that any was measured on."""
    return [
        Column(suite.name, metric)
        for suite in suites
        for metric in suite.compared
        if any(suite.name in model.reports for model in models)
    ]


def model_table(models: Sequence[MeasuredModel], metrics: Sequence[Column]) -> str:
    """A row a model with each metric; after a family's two models, how base differs from instruct.

    Differences are paired, on the items that both were asked.
    """
    rows = [["model", "size", "", *(" ".join(column) for column in metrics)]]
    families: dict[str, dict[str, MeasuredModel]] = {}
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


def trend_table(models: Sequence[MeasuredModel], metrics: Sequence[Column]) -> str:
    """Spearman's rank correlation of size and each metric, over base and over instruct models.

    Behind each is how likely one so far from 0 is without any trend, by permutation.
    """
    rows = [["rank correlation with size", "models", *(" ".join(column) for column in metrics)]]
    for kind in KINDS:
        some = [model for model in models if model.kind == kind]
        rows.append([kind, str(len(some)), *(_trend(some, column) for column in metrics)])
    return text_table(rows)


def _value(model: MeasuredModel, column: Column) -> Interval | None:
    report = model.reports.get(column.suite)
    return None if report is None else report.metrics.get(column.metric)


def _difference(base: MeasuredModel, instruct: MeasuredModel, column: Column) -> Interval | None:
    """Base minus instruct."""
    if not all(column.suite in model.reports for model in (base, instruct)):
        return None
    reports = {model.kind: model.reports[column.suite] for model in (instruct, base)}
    try:
        shared = on_shared_items(reports)
    except DataError:  # nothing that both were asked
        return None
    return compare(shared["instruct"], shared["base"]).get(column.metric)


def _trend(models: Sequence[MeasuredModel], column: Column) -> str:
    values = [(model.size, _value(model, column)) for model in models]
    pairs = [(size, value.mean) for size, value in values if value and math.isfinite(value.mean)]
    sizes, means = ([pair[i] for pair in pairs] for i in (0, 1))
    if min(len(set(sizes)), len(set(means))) < _FEWEST_FOR_A_TREND:
        return "-"
    return f"{rank_correlation(sizes, means):+.2f} (p {permutation_p(sizes, means):.2f})"


def _shown(value: Interval | None) -> str:
    return "-" if value is None else str(value)
