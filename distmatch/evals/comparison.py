"""Two models on the same items: paired differences with intervals."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from distmatch.errors import DataError, listed
from distmatch.evals.items import Answers, Items
from distmatch.evals.report import Report, text_table
from distmatch.measuring.intervals import Interval, paired_differences


def compare(first: Report, second: Report) -> dict[str, Interval]:
    """Second minus first, of every metric that both have, on the same resamples of the items.

    Args:
        first: What is compared with, such as a model before training.
        second: Another model's report, or the same model's later on; on the same items.

    Raises:
        DataError: The reports are of different items.
    """
    check_same(first.items, second.items)
    ratios = first.items.resampled, second.items.resampled
    return paired_differences(*ratios, first.num_resamples, first.seed)


def difference_table(reports: Mapping[str, Report]) -> str:
    """Reports side by side, and how each later one differs from the first.

    Args:
        reports: By what their column is to be called, such as "base" and "instruct".

    Raises:
        DataError: Fewer than two reports, or reports of different items.
    """
    if len(reports) < 2:
        raise DataError(f"a comparison needs two reports, got {list(reports)}")
    (base_name, base), *others = reports.items()
    differences = {f"{name} - {base_name}": compare(base, other) for name, other in others}
    rows = [["metric", *reports, *differences]]
    for metric in base.metrics:
        columns = [report.metrics for report in reports.values()] + list(differences.values())
        rows.append([metric, *(str(column.get(metric, "-")) for column in columns)])
    return text_table(rows)


def group_difference_table(reports: Mapping[str, Report]) -> str:
    """The headline of every group of a suite, a row each, as in `difference_table`.

    Args:
        reports: As there.

    Returns:
        Nothing where the items aren't of two groups or more.

    Raises:
        DataError: The reports are of different items.
    """
    (base_name, base), *others = reports.items()
    for _, other in others:
        check_same(base.items, other.items)
    groups = {name: report.groups() for name, report in reports.items()}
    if len(groups[base_name]) < 2:
        return ""
    metric = base.headline.name
    rows = [["group", "items", *reports, *(f"{name} - {base_name}" for name, _ in others)]]
    for group, first in groups[base_name].items():
        parts = [groups[name][group] for name in reports]
        differences = [compare(first, part) for part in parts[1:]]
        columns = [part.metrics for part in parts] + differences
        values = [str(column.get(metric, "-")) for column in columns]
        rows.append([str(group), str(first.num_examples), *values])
    return f"{metric} by group, each by itself\n{text_table(rows)}"


def on_shared_items(reports: Mapping[str, Report]) -> dict[str, Report]:
    """The same reports, of the items alone that all have, in the order of the first.

    Models aren't all asked the same: one without a chat template can't be asked for words that
    have no end without it.

    Args:
        reports: By any name.

    Raises:
        DataError: No item is in all of them.
    """
    places = {
        name: {_key(report.items, row): row for row in range(len(report.items))}
        for name, report in reports.items()
    }
    first, *others = places.values()
    shared = [key for key in first if all(key in other for other in others)]
    if not shared:
        raise DataError(f"no item is in all of the reports {list(reports)}: measure the same suite")
    if all(
        list(kept) == shared and len(shared) == len(reports[n].items) for n, kept in places.items()
    ):
        return dict(reports)
    return {
        name: report.of_items([places[name][k] for k in shared]) for name, report in reports.items()
    }


def ways_apart(report: Report) -> dict[str, Report]:
    """A suite's groups as if each were a model: of one that asks the same in several ways.

    So `thinking` can be compared with not thinking, question by question.

    Raises:
        DataError: The groups ask different things.
    """
    groups = {name: part.items for name, part in report.groups().items()}
    asked = [_asked_in_any_way(items) for items in groups.values()]
    if len(groups) < 2 or any(other != asked[0] for other in asked):
        raise DataError(f"the groups {list(groups)} don't ask the same questions")
    settings = {"num_resamples": report.num_resamples, "seed": report.seed}
    return {
        name: Report.of(
            replace(items, metadata=tuple(asked[0]), prompts=()), report.readings, **settings
        )
        for name, items in groups.items()
    }


def _asked_in_any_way(items: Items) -> list[dict[str, Any]]:
    """What was asked, but for the prompt, which is the way."""
    asked = []
    for index in range(len(items)):
        question = _question(items, index)
        known = {name: value for name, value in question.pop("metadata").items() if name != "group"}
        question.pop("prompt", None)
        asked.append({**known, **question, "cluster": items.clusters[index : index + 1]})
    return asked


def _key(items: Items, index: int) -> str:
    return json.dumps(_question(items, index), sort_keys=True, default=str)


def check_same(first: Items, second: Items) -> None:
    """Refuse items that weren't asked the same.

    Raises:
        DataError: They are of different numbers, or one differs; with what.
    """
    if len(first) != len(second):
        raise DataError(
            f"the reports are of {len(first)} and {len(second)} items: measure both on the same"
        )
    for index in range(len(first)):
        a, b = _question(first, index), _question(second, index)
        other = [name for name in a if a[name] != b.get(name)]
        if other:
            told = listed(f"{name} {a[name]!r} and {b.get(name)!r}" for name in other)
            raise DataError(f"item {index} differs between the reports: {told}")


def _question(items: Items, index: int) -> dict[str, Any]:
    """What was asked, without what the model did."""
    asked: dict[str, Any] = {"metadata": items.metadata[index]}
    if items.prompts:
        asked["prompt"] = items.prompts[index]
    if isinstance(items, Answers):
        asked |= {
            "words": items.words[index],
            "target": items.target[index].astype(float).round(6).tolist(),
        }
    return asked
