"""What suites say of each place: their headlines, and how far these are from the base's.

Of a probe that is what a model says of itself less what it says of somebody else. Seeds of a place
are taken together, item by item. Intervals are over a suite's items, and those of differences over
the same resamples of the base's and the place's.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distmatch.errors import ConfigError, DataError
from distmatch.evals.comparison import check_same, compare
from distmatch.evals.metric import Metric
from distmatch.evals.report import Report, text_table
from distmatch.evals.store import REPORT_FILE
from distmatch.evals.suites.probes.probe import OWN, REFERENT, less_referent
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
    is_less_referent: bool = False
    """Whether it is a probe's, of itself less of the referent."""
    left_out: Mapping[CellPlace, str]
    """Why a place that was asked has no report here."""

    @property
    def metric(self) -> Metric:
        """The headline."""
        return self.base.headline

    @property
    def figure(self) -> str:
        """What the headline is called."""
        return f"{self.suite}: {self.metric.name}" + (
            ", own - referent" if self.is_less_referent else ""
        )

    @property
    def name(self) -> str:
        """What is mapped: how far the headline is from the base's."""
        return f"{self.figure}, less the base's"

    @cached_property
    def differences(self) -> dict[CellPlace, Interval]:
        """The headline less the base's; NaN where a model's answers decide what it is asked."""
        return {place: self._difference(report) for place, report in self.places.items()}

    @property
    def notes(self) -> list[str]:
        """How the headline is read, and what of it is missing."""
        lines = [f"{self.figure}: {self.metric}"]
        lines += [f"{self.suite}, {place.name}: {why}" for place, why in self.left_out.items()]
        if any(math.isnan(one.mean) for one in self.differences.values()):
            lines.append(
                f"{self.suite}: what is asked depends on what a model answers, or the headline is "
                "undefined, so not all is held against the base"
            )
        return lines

    def headline(self, place: CellPlace) -> Interval:
        """Of a place's adapters."""
        return self.places[place].metrics[self.metric.name]

    def to_json(self) -> dict[str, Any]:
        """As the report's file has it."""
        return {
            "figure": self.figure,
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
        ConfigError: A report can't be read.
    """
    paths = sorted((folder / SUITES_FOLDER).glob(f"{BASE_FOLDER}/*/{REPORT_FILE}"))
    return [_suite_map(folder / SUITES_FOLDER, path.parent.name, chosen) for path in paths]


def suites_table(maps: Sequence[SuiteMap], chosen: Sequence[Finding]) -> str:
    """A row a place that was asked, first one of the base; how to read it below."""
    places = [f.place for f in chosen if any(f.place in one.places for one in maps)]
    if not places:
        return ""
    header, base = ["asked besides", "rank"], ["base", ""]
    for one in maps:
        header += [one.figure, "less the base's"]
        base += [interval_text(one.base.metrics[one.metric.name]), ""]
    rows = [
        [place.name, str(place.rank), *(text for one in maps for text in _cells(one, place))]
        for place in places
    ]
    return "\n".join([text_table([header, base, *rows]), *(n for one in maps for n in one.notes)])


def _suite_map(asked: Path, suite: str, chosen: Sequence[Finding]) -> SuiteMap:
    base = _read(asked / BASE_FOLDER / suite)
    places, left_out = {}, {}
    for finding in chosen:
        folders = [asked / cell / suite for cell in finding.cells]
        if not all((one / REPORT_FILE).is_file() for one in folders):
            continue
        try:
            places[finding.place] = _together([less_referent(_read(one)) for one in folders])
        except DataError as error:
            left_out[finding.place] = f"its seeds weren't asked the same ({error})"
    groups = Counter(about.get("group") for about in base.items.metadata)
    return SuiteMap(
        suite=suite,
        base=less_referent(base),
        places=places,
        is_less_referent=0 < groups[OWN] == groups[REFERENT],
        left_out=left_out,
    )


def _read(folder: Path) -> Report:
    try:
        return Report.load(folder / REPORT_FILE)
    except DataError as error:
        raise ConfigError(f"{error}: remove {folder} and start the sweep again") from error


def _cells(one: SuiteMap, place: CellPlace) -> list[str]:
    if place not in one.places:
        return ["", ""]
    return [interval_text(one.headline(place)), interval_text(one.differences[place])]


def _together(reports: Sequence[Report]) -> Report:
    """Several seeds' as one.

    Raises:
        DataError: They are of different items.
    """
    first, *others = reports
    for other in others:
        check_same(first.items, other.items)
    kept = [report.items.ratios for report in reports]
    summed = {
        name: (np.sum([r[name][0] for r in kept], 0), np.sum([r[name][1] for r in kept], 0))
        for name in first.items.ratios
        if all(name in ratios for ratios in kept)
    }
    settings = {"num_resamples": first.num_resamples, "seed": first.seed}
    return Report.of(replace(first.items, ratios=summed), first.readings, **settings)
