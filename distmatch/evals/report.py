"""Metrics with intervals, of the items they were measured on; saved and read back."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from distmatch import plots
from distmatch.data.jsonl import value_key
from distmatch.errors import DataError, unknown_name
from distmatch.evals.items import Answers, Items, items_of, plain
from distmatch.evals.metric import WORD_METRICS, Metric, metrics_of
from distmatch.files import write_json
from distmatch.measuring.calibration import Calibration
from distmatch.measuring.intervals import CONFIDENCE, Interval, intervals


@dataclass(frozen=True, eq=False)
class Report:
    """A model's metrics on some items.

    `print(report)` shows the table, `distmatch.plots.calibration` draws given against asked.
    """

    metrics: dict[str, Interval]
    """By name; of answers in the order of `distmatch.measuring.metrics.METRICS`."""
    items: Items
    readings: tuple[Metric, ...]
    """How they are read, the headline first; of more than there are."""
    num_resamples: int
    seed: int

    @classmethod
    def of(
        cls,
        items: Items,
        readings: tuple[Metric, ...] = WORD_METRICS,
        *,
        num_resamples: int = 1000,
        seed: int = 0,
    ) -> "Report":
        """The report of some items, resampled by item or cluster: an example's words together."""
        metrics = intervals(items.resampled, num_resamples, seed)
        return cls(metrics, items, readings, num_resamples, seed)

    @property
    def headline(self) -> Metric:
        """The metric that is drawn."""
        known = {reading.name: reading for reading in self.readings if reading.name in self.metrics}
        return next(iter(known.values()), Metric(next(iter(self.metrics)), ""))

    @property
    def num_examples(self) -> int:
        """How many items were asked, rotations not counted."""
        return len(self.items)

    @property
    def asked(self) -> Float[np.ndarray, "examples words"]:
        """Asked probabilities renormalised over the words, padded with NaN."""
        return self.answers.asked

    @property
    def given(self) -> Float[np.ndarray, "examples words"]:
        """Given probabilities renormalised over the words, padded with NaN."""
        return self.answers.given

    @property
    def other(self) -> Float[np.ndarray, " examples"]:
        """The model's probability of none of an example's words."""
        return self.answers.other

    @property
    def answers(self) -> Answers:
        """The items, if they ask for distributions over words.

        Raises:
            DataError: They don't.
        """
        if not isinstance(self.items, Answers):
            raise DataError("the report's items ask for no distribution over words")
        return self.items

    def calibration(self) -> Calibration:
        """Given against asked, with the table's own numbers and resamples.

        Raises:
            DataError: The items ask for no distribution over words.
        """
        answers = self.answers
        found = Calibration.of(
            answers.asked,
            answers.given,
            clusters=answers.clusters,
            num_resamples=self.num_resamples,
            seed=self.seed,
        )
        names = {"slope", "control_tvd", "other"} & set(self.metrics)
        told: dict[str, Any] = {name: self.metrics[name].mean for name in names}
        return replace(found, **told)

    def by(self, key: str) -> dict[Any, "Report"]:
        """A report for each value of a metadata key, such as "wording", "num_words" or "phrasing".

        Numbers come in their order, other values as they appear; items without the key go under
        None, lists and objects under their JSON. Nothing is asked again; `policy_tvd` of answers is
        that of the policy that is best on each group.

        Raises:
            DataError: No item has this key.
        """
        known = dict.fromkeys(name for metadata in self.items.metadata for name in metadata)
        if key not in known:
            raise DataError(unknown_name("metadata key", key, known))
        values: dict[str, Any] = {}
        groups: dict[str, list[int]] = {}
        for row, metadata in enumerate(self.items.metadata):
            name = value_key(value := metadata.get(key))
            values.setdefault(name, value)
            groups.setdefault(name, []).append(row)
        reports: dict[Any, Report] = {}
        has_order = _have_order(values.values())
        for name in sorted(groups, key=values.__getitem__) if has_order else groups:
            reports[_key(values[name], name, reports)] = self.of_items(groups[name])
        return reports

    def of_items(self, rows: Sequence[int]) -> "Report":
        """The report of some of the items, by their numbers; nothing is asked again."""
        settings = {"num_resamples": self.num_resamples, "seed": self.seed}
        return Report.of(self.items.subset(rows), self.readings, **settings)

    def groups(self) -> dict[str, "Report"]:
        """A report for each group of a suite; of other examples none."""
        has_groups = any("group" in metadata for metadata in self.items.metadata)
        return self.by("group") if has_groups else {}

    def rows(self) -> list[dict[str, Any]]:
        """One plain dict an item: of an example its words, asked and given; metrics, metadata."""
        return [self.items.row(index) for index in range(len(self.items))]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain dicts, lists and numbers; None for what is undefined or infinite."""
        return {
            "num_examples": self.num_examples,
            "confidence": CONFIDENCE,
            "num_resamples": self.num_resamples,
            "seed": self.seed,
            "readings": [
                list(reading) for reading in self.readings if reading.name in self.metrics
            ],
            "metrics": {
                name: {part: plain(value) for part, value in interval._asdict().items()}
                for name, interval in self.metrics.items()
            },
            "ratios": {
                name: {"numerators": plain(top), "denominators": plain(bottom)}
                for name, (top, bottom) in self.items.ratios.items()
            },
            "examples": self.rows(),
        }

    def save(self, path: str | Path) -> None:
        """Write it as JSON, replacing the file only when all is written."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "Report":
        """A report as `save` wrote it.

        Raises:
            DataError: The file is missing, or holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            items = items_of(content)
            readings = metrics_of(content["readings"]) if "readings" in content else WORD_METRICS
            settings = {name: content[name] for name in ("num_resamples", "seed")}
        except OSError as error:
            raise DataError(f"can't read the report {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is not a saved report: {error!r}") from error
        return cls.of(items, readings, **settings)

    def table(self) -> str:
        """The metrics as text, with intervals and how to read each."""
        return text_table(self._table_rows)

    @property
    def _table_rows(self) -> list[list[str]]:
        return comparison_rows({f"{self.num_examples} examples": self})

    def group_table(self) -> str:
        """The main metrics of every group of a suite, a row each, and of all."""
        details = {reading.name for reading in self.readings if reading.is_detail}
        metrics = [name for name in self.metrics if name not in details]
        rows = [["group", "items", *metrics]]
        for name, report in {**self.groups(), "all": self}.items():
            values = [str(report.metrics[metric]) for metric in metrics]
            rows.append([str(name), str(report.num_examples), *values])
        return text_table(rows)

    def __str__(self) -> str:
        """The table."""
        return self.table()

    def _repr_html_(self) -> str:
        """The table in a notebook, and given against asked."""
        return plots.notebook_html(self._table_rows, figure=lambda: plots.calibration(self))


def _have_order(values: Iterable[Any]) -> bool:
    values = list(values)
    is_bool = {isinstance(value, bool) for value in values}
    are_numbers = all(isinstance(value, int | float) and value == value for value in values)
    return are_numbers and len(is_bool) == 1


def _key(value: Any, text: str, taken: Collection[Any]) -> Any:
    """The value, or its JSON where it is no key, or the same as another one (True and 1)."""
    try:
        return text if value in taken else value
    except TypeError:
        return text


def comparison_table(reports: Mapping[str, Report]) -> str:
    """Reports side by side: a row a metric, a column a report, and how to read the metric.

    Args:
        reports: By what their column is to be called, such as "before" and "after".
    """
    return text_table(comparison_rows(reports)) if reports else ""


def comparison_rows(reports: Mapping[str, Report]) -> list[list[str]]:
    """The cells of `comparison_table`, the first row a header.

    Args:
        reports: One or more, by what their column is to be called.
    """
    first = next(iter(reports.values()))
    told = {reading.name: str(reading) for reading in first.readings}
    rows = [["metric", *reports, ""]]
    for name in first.metrics:
        cells = [str(report.metrics[name]) for report in reports.values()]
        rows.append([name, *cells, told.get(name, "")])
    return rows


def text_table(rows: list[list[str]]) -> str:
    """Rows of cells as aligned text, the first of them a header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ruled
    )
