"""What suites say of each place: their headlines, and how far these are from the base's.

Seeds of a place are taken together, item by item. Intervals are over a suite's items, and those of
differences over the same resamples of the base's and the place's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distmatch.errors import DataError
from distmatch.evals.comparison import compare
from distmatch.evals.metric import Metric
from distmatch.evals.report import Report, text_table
from distmatch.evals.store import REPORT_FILE
from distmatch.measuring.intervals import Interval, interval_text
from distmatch.sweeps.cells import CellPlace
from distmatch.sweeps.findings import Finding
from distmatch.sweeps.folder import BASE_FOLDER, SUITES_FOLDER

_UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class SuiteMap:
    """One suite's headline by place."""

    suite: str
    base: Report
    places: Mapping[CellPlace, Report]
    """Of each place's adapters at its chosen learning rate, seeds together."""

    @property
    def metric(self) -> Metric:
        """The headline."""
        return self.base.headline

    @property
    def name(self) -> str:
        """What is mapped: how far the headline is from the base's."""
        return f"{self.suite}: {self.metric.name}, less the base's"

    @cached_property
    def differences(self) -> dict[CellPlace, Interval]:
        """The headline less the base's; NaN where a model's answers decide what it is asked."""
        return {place: self._difference(report) for place, report in self.places.items()}

    def headline(self, place: CellPlace) -> Interval:
        """Of a place's adapters."""
        return self.places[place].metrics[self.metric.name]

    def to_json(self) -> dict[str, Any]:
        """As the report's file has it."""
        return {
            "metric": self.metric.name,
            "base": self.base.metrics[self.metric.name],
            "places": {
                f"{place.name}-rank{place.rank}": {
                    "headline": self.headline(place),
                    "difference": difference,
                }
                for place, difference in self.differences.items()
            },
        }

    def _difference(self, report: Report) -> Interval:
        try:
            return compare(self.base, report).get(self.metric.name, _UNKNOWN)
        except DataError:
            return _UNKNOWN


def read_suite_maps(folder: Path, chosen: Sequence[Finding]) -> list[SuiteMap]:
    """The suites that a sweep's base and places were asked.

    Args:
        folder: The sweep's.
        chosen: Each place at its learning rate; those not asked yet are left out.

    Raises:
        DataError: A report can't be read.
    """
    asked = folder / SUITES_FOLDER
    maps = []
    for path in sorted(asked.glob(f"{BASE_FOLDER}/*/{REPORT_FILE}")):
        suite = path.parent.name
        places = {}
        for finding in chosen:
            paths = [asked / cell / suite / REPORT_FILE for cell in finding.cells]
            if all(one.is_file() for one in paths):
                places[finding.place] = _together([Report.load(one) for one in paths])
        maps.append(SuiteMap(suite=suite, base=Report.load(path), places=places))
    return maps


def suites_table(maps: Sequence[SuiteMap], chosen: Sequence[Finding]) -> str:
    """A row a place that was asked, first one of the base; how to read it below."""
    places = [f.place for f in chosen if any(f.place in one.places for one in maps)]
    if not places:
        return ""
    header, base = ["asked besides"], ["base"]
    for one in maps:
        header += [f"{one.suite}: {one.metric.name}", "less the base's"]
        base += [interval_text(one.base.metrics[one.metric.name]), ""]
    rows = [
        [place.name, *(text for one in maps for text in _cells(one, place))] for place in places
    ]
    told = [f"{one.suite}: {one.metric.name}: {one.metric}" for one in maps]
    return "\n".join([text_table([header, base, *rows]), *told])


def _cells(one: SuiteMap, place: CellPlace) -> list[str]:
    if place not in one.places:
        return ["", ""]
    return [interval_text(one.headline(place)), interval_text(one.differences[place])]


def _together(reports: Sequence[Report]) -> Report:
    """Several seeds' as one; the first's where their items aren't the same."""
    first = reports[0]
    if len({len(report.items) for report in reports}) > 1:
        return first
    kept = [report.items.ratios for report in reports]
    summed = {
        name: (np.sum([r[name][0] for r in kept], 0), np.sum([r[name][1] for r in kept], 0))
        for name in first.items.ratios
        if all(name in ratios for ratios in kept)
    }
    settings = {"num_resamples": first.num_resamples, "seed": first.seed}
    return Report.of(replace(first.items, ratios=summed), first.readings, **settings)
