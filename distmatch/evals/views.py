"""Reports of suites as what a page shows: key figures, metrics, groups, items one by one."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from distmatch import plots
from distmatch.data.examples import Prompt
from distmatch.errors import DataError
from distmatch.evals.comparison import compare
from distmatch.evals.items import ANSWER, Answers
from distmatch.evals.metric import Metric
from distmatch.evals.report import Report
from distmatch.measuring.intervals import Interval, interval_text
from distmatch.reports import AskedItem, AskedWord, ItemsView, KeyFigure, TableView

REST = "none of these"
"""What stands for other among an item's words."""
POLICY = "best fixed answer"
_FEWEST_CHOICES, _MOST_CHOICES = 2, 24
_COLUMNS = ("tvd", "control_tvd", "other")

Compared = Mapping[str, Report]
"""Reports on the same items, by what was measured, such as "before" and "after"."""


def key_figures(reports: Compared) -> list[KeyFigure]:
    """The first screen's of a suite: every metric that is listed for groups, the headline first."""
    last = list(reports.values())[-1]
    beside = {reading.beside for reading in last.readings}
    return [
        KeyFigure(
            name=reading.name,
            reading=str(reading),
            values={n: r.metrics[reading.name] for n, r in reports.items()},
            marks=_marks(last, reading.beside),
        )
        for reading in last.readings
        if reading.name in last.metrics and not reading.is_detail and reading.name not in beside
    ]


def price_figures(suite: str, reports: Compared, *, headline: bool = False) -> list[KeyFigure]:
    """A suite's metrics that are better lower or higher; difference and worst group in words.

    Args:
        suite: What the suite is called.
        reports: The first is what the last is held against.
        headline: The headline alone, whichever way it is better.
    """
    first, *_, last = [*reports.values()] * 2  # one alone is both
    begun, *_, ended = [*reports] * 2
    directed = [one for one in last.readings if one.better and one.name in last.metrics]
    differences = compare(first, last) if last is not first else {}
    groups = {name: reports[name].groups() for name in dict.fromkeys((begun, ended))}
    return [
        KeyFigure(
            name=f"{suite}: {metric.name}",
            reading="; ".join(
                [
                    str(metric),
                    *_difference(metric.name, first, differences),
                    *_worst_group(metric, groups),
                ]
            ),
            values={name: r.metrics[metric.name] for name, r in reports.items()},
            marks=_marks(last, metric.beside),
        )
        for metric in ([last.headline] if headline or not directed else directed)
    ]


def _difference(name: str, first: Report, differences: Mapping[str, Interval]) -> Iterator[str]:
    if name in differences and first.metrics[name] != (0, 0, 0):  # else it is the value itself
        yield f"difference {interval_text(differences[name])}"


def _worst_group(metric: Metric, groups: Mapping[str, Compared]) -> Iterator[str]:
    """The group that lost most, or gained least, from the first to the last; of one, the worst."""
    (begun, first), *_, (ended, last) = [*groups.items()] * 2
    pairs = {
        str(name): (first[name].metrics[metric.name].mean, last[name].metrics[metric.name].mean)
        for name in last
    }
    measured = {name: pair for name, pair in pairs.items() if not math.isnan(sum(pair))}
    if not metric.better or len(measured) < 2:
        return
    sign = 1 if metric.better == "lower" else -1
    if begun == ended:
        name = max(measured, key=lambda name: sign * measured[name][1])
        yield f"worst in {name}: {measured[name][1]:.3f}"
    else:
        name = max(measured, key=lambda name: sign * (measured[name][1] - measured[name][0]))
        was, now = measured[name]
        kind = "lost most" if sign * (now - was) > 0 else "gained least"
        yield f"{kind} in {name}: {was:.3f} {begun}, {now:.3f} {ended}"


def _marks(report: Report, beside: str) -> dict[str, float]:
    if beside not in report.metrics:
        return {}
    name = POLICY if beside == "policy_tvd" else beside
    return {name: report.metrics[beside].mean}


def metrics_view(suites: Mapping[str, Compared]) -> TableView:
    """Every metric of every suite, and how later ones differ from the first, a row each."""
    series = list(dict.fromkeys(name for reports in suites.values() for name in reports))
    first, *later = series
    rows = [row for suite, reports in suites.items() for row in _metric_rows(suite, reports, later)]
    return TableView(
        title="Metrics",
        columns=[
            *("suite", "metric", first or "value", *later),
            *(f"{name} - {first}" for name in later),
            "reading",
        ],
        rows=rows,
    )


def _metric_rows(suite: str, reports: Compared, later: Sequence[str]) -> Iterator[list[Any]]:
    first = next(iter(reports.values()))
    told = {reading.name: str(reading) for reading in first.readings}
    differences = [compare(first, reports[name]) if name in reports else {} for name in later]
    others = [reports[name].metrics if name in reports else {} for name in later]
    for name in first.metrics:
        values = [_cell(found.get(name)) for found in (first.metrics, *others, *differences)]
        yield [suite, name, *values, told.get(name, "")]


def groups_view(suite: str, reports: Compared) -> TableView | None:
    """Main metrics of every group of a suite, of the last report; None: it has no groups."""
    report = list(reports.values())[-1]
    parts = report.groups()
    if not parts:
        return None
    details = {reading.name for reading in report.readings if reading.is_detail}
    names = [name for name in report.metrics if name not in details]
    rows = [
        [str(group), float(part.num_examples), *(_cell(part.metrics[name]) for name in names)]
        for group, part in {**parts, "all": report}.items()
    ]
    return TableView(title=f"Groups: {suite}", columns=["group", "items", *names], rows=rows)


def answers_view(suite: str, reports: Compared) -> TableView | None:
    """What was answered in writing, one beside the other; None: nothing by the last."""
    items = list(reports.values())[-1].items
    rows = [
        [_content(items.prompts[row]), *(_answer(report, row) for report in reports.values())]
        for row, said in enumerate(items.said)
        if ANSWER in said
    ]
    columns = ["prompt", *(name or "answer" for name in reports)]
    note = "Drawn once each, at temperature 1."
    title = f"Answers: {suite}"
    return TableView(title=title, columns=columns, rows=rows, note=note) if rows else None


def _answer(report: Report, row: int) -> str:
    said = report.items.said
    return str(said[row].get(ANSWER, "")) if said else ""


def _content(prompt: Prompt) -> str:
    """A prompt in one piece."""
    return "\n".join(text for _, text in messages(prompt))


def items_view(suite: str, reports: Compared) -> ItemsView:
    """A suite's items one by one, with a dot a word where it asks for distributions.

    Args:
        suite: What it is called.
        reports: On the same items.
    """
    calibrations = _calibrations(reports)
    metadata = list(reports.values())[-1].items.metadata
    columns = _item_columns(reports)
    num = len(list(reports.values())[-1].items)
    return ItemsView(
        title=f"{'Calibration' if calibrations else 'Items'}: {suite}",
        series=list(reports),
        columns=[f"{metric} {name}".strip() for metric, name in columns],
        items=[_item(reports, row, columns) for row in range(num)],
        choices=chosen_by(metadata),
        bins={name: found.bins.tolist() for name, found in calibrations.items()},
        summaries={name: plots.calibration_summary(found) for name, found in calibrations.items()},
    )


def word_dots(report: Report) -> list[tuple[float, float]]:
    """Asked and given probability of every word, over the words alone, where both are defined."""
    pairs = np.stack([report.asked, report.given], axis=-1).reshape(-1, 2)
    return [(float(asked), float(given)) for asked, given in pairs[np.isfinite(pairs).all(axis=1)]]


def _calibrations(reports: Compared) -> dict[str, Any]:
    """Of those that have one."""
    found = {}
    for name, report in reports.items():
        try:
            calibration = report.calibration()
        except DataError:
            continue
        if np.isfinite(calibration.asked).any():
            found[name] = calibration
    return found


def _item_columns(reports: Compared) -> list[tuple[str, str]]:
    """Metrics, and of which report."""
    last = list(reports.values())[-1]
    names = dict.fromkeys([last.headline.name, *_COLUMNS])
    return [
        (metric, name)
        for metric in names
        for name, report in reports.items()
        if metric in report.items.ratios
    ]


def _item(reports: Compared, row: int, columns: Sequence[tuple[str, str]]) -> AskedItem:
    items = list(reports.values())[-1].items
    return AskedItem(
        prompt=messages(items.prompts[row]) if items.prompts else (),
        cells=[item_value(reports[name], metric, row) for metric, name in columns],
        words=_words(reports, row),
        said={
            name: value_text(report.items.said[row])
            for name, report in reports.items()
            if report.items.said and report.items.said[row]
        },
        known={name: value_text(value) for name, value in items.metadata[row].items()},
    )


def messages(prompt: Prompt) -> list[tuple[str, str]]:
    """A prompt as who says what; of plain text nobody."""
    if isinstance(prompt, str):
        return [("", prompt)]
    return [(str(message["role"]), str(message["content"])) for message in prompt]


def item_value(report: Report, metric: str, row: int) -> float:
    """A metric of one item alone; NaN where it says nothing."""
    top, bottom = (part[row] for part in report.items.ratios[metric])
    return float(top / bottom) if bottom else math.nan


def _words(reports: Compared, row: int) -> list[AskedWord]:
    answers = {n: r.items for n, r in reports.items() if isinstance(r.items, Answers)}
    if not answers:
        return []
    last = list(answers.values())[-1]
    words = [
        AskedWord(
            word,
            float(last.target[row, place]),
            {name: float(one.probs[row, place]) for name, one in answers.items()},
            float(last.asked[row, place]),
            {name: float(one.given[row, place]) for name, one in answers.items()},
        )
        for place, word in enumerate(last.words[row])
    ]
    others = {name: float(one.other[row]) for name, one in answers.items()}
    return [*words, AskedWord(REST, float(last.target[row, -1]), others)]


def chosen_by(metadata: Sequence[Mapping[str, Any]]) -> list[str]:
    """By what is known of them items can be chosen: what has several values, few enough to list."""
    values: dict[str, set[str]] = {}
    for known in metadata:
        for name, value in known.items():
            values.setdefault(name, set()).add(value_text(value))
    return [name for name, some in values.items() if _FEWEST_CHOICES <= len(some) <= _MOST_CHOICES]


def value_text(value: Any) -> str:
    """What is known of an item or was said, as text."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {value_text(one)}" for name, one in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _cell(value: Any) -> Any:
    """An interval as a table has it."""
    return math.nan if value is None else tuple(map(float, value))
