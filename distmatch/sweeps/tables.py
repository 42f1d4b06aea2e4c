"""A sweep's tables, as text: what each place learned, at which rates, and which site is better."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from distmatch.evals.report import text_table
from distmatch.measuring.intervals import Interval
from distmatch.sweeps.cells import MATCHES, CellPlace
from distmatch.sweeps.correlations import Correlation
from distmatch.sweeps.findings import Finding
from distmatch.sweeps.headlines import CONTROL, COPYING, Metrics, mean_of
from distmatch.sweeps.sets import Sets
from distmatch.sweeps.spread import pooled_spread, student_interval


def cells_table(found: Sequence[Finding], base: Sets[Metrics]) -> str:
    """A row a cell, and first one of the base."""
    return text_table(cells_rows(found, base))


def cells_rows(found: Sequence[Finding], base: Sets[Metrics]) -> list[list[str]]:
    """The cells of `cells_table`, the first row a header."""
    transfers = list(base.transfer)
    header = [
        *("cell", "rank", "learning rate", "parameters", "seeds", "control", "slope", "copying"),
        *(f"control, {name}" for name in transfers),
        *("KL", "s", "gain / 1M parameters", "gain / min", "gain / PFLOP"),
    ]
    own = CONTROL.of_base(base.learned)
    of_base = [
        *("base", "", "", "0", "", _number(own), _number(mean_of(base.learned, "slope"), 2)),
        _number(COPYING.of_base(base.learned)),
        *(_number(CONTROL.of_base(metrics)) for metrics in base.transfer.values()),
        *("0.0000", "", "", "", ""),
    ]
    return [header, of_base, *(_cell_row(f, transfers, own) for f in found)]


def _cell_row(finding: Finding, transfers: Sequence[str], base: float) -> list[str]:
    gain = finding.control.mean - base
    return [
        finding.name,
        str(finding.rank),
        f"{finding.learning_rate:g}",
        f"{finding.parameters:,}",
        str(finding.num_seeds),
        _interval(finding.control),
        _number(finding.slope, 2),
        _interval(finding.copying),
        *(_number(finding.transfer[name]) for name in transfers),
        f"{finding.kl:.4f}",
        f"{finding.train_seconds:.0f}",
        _price(gain, finding.parameters / 1e6),
        _price(gain, finding.train_seconds / 60),
        _price(gain, finding.flops / 1e15),
    ]


def rates_table(found: Sequence[Finding]) -> str:
    """Control at each learning rate of places with several, and what of it decided."""
    rates = sorted({f.learning_rate for f in found})
    places: dict[CellPlace, dict[float, Finding]] = {}
    for f in found:
        places.setdefault(f.place, {})[f.learning_rate] = f
    rows = [["control (by tuning examples) at", "rank", *(f"{rate:g}" for rate in rates)]]
    for place, tried in places.items():
        if len(tried) > 1:
            most = max(f.num_seeds for f in tried.values())
            shown = {rate: _tried(f, most) for rate, f in tried.items()}
            rows.append([place.name, str(place.rank), *(shown.get(rate, "") for rate in rates)])
    if len(rows) == 1 or all(math.isnan(f.tuning) for f in found):
        return ""
    return text_table(rows) + "\n* chosen: most control by tuning examples; + fewer seeds, left out"


def _tried(finding: Finding, most_seeds: int) -> str:
    """Control at one of several learning rates."""
    mark = " *" if finding.chosen else " +" if finding.num_seeds < most_seeds else ""
    return f"{_number(finding.control.mean)} ({_number(finding.tuning)}){mark}"


def sites_table(found: Sequence[Finding]) -> str:
    """Two sites' control on the same blocks, by what is matched; a place is some blocks."""
    sites = sorted({f.site for f in found})
    kinds = {
        "single blocks": [f for f in found if f.is_single],
        "ranges": [f for f in found if not f.is_single],
    }
    rows = [["on the same blocks", "matched", "places", "control, mean", "difference", "better on"]]
    for first, second in combinations(sites, 2):
        for kind, some in kinds.items():
            for match in MATCHES:
                if pairs := _control_pairs(some, first, second, match):
                    name = f"{first} against {second}, {kind}"
                    rows.append([name, match, *_compared(list(pairs.values()))])
    return text_table(rows) if len(rows) > 1 else ""


def _control_pairs(
    found: Sequence[Finding], first: str, second: str, match: str
) -> dict[str, list[tuple[float, float]]]:
    """Control of two sites on the same blocks, by these; of several ranks several pairs."""
    places: dict[str, list[tuple[float, float]]] = {}
    for one, other in _matched(found, first, second, match):
        pair = one.control.mean, other.control.mean
        if not any(map(math.isnan, pair)):
            places.setdefault(one.blocks, []).append(pair)
    return places


def _compared(places: Sequence[Sequence[tuple[float, float]]]) -> list[str]:
    """Their number, both means, the mean difference with its interval, and where it is above 0."""
    means = np.array([np.mean(pairs, axis=0) for pairs in places])
    first, second = means.mean(0)
    differences = (means[:, 0] - means[:, 1]).tolist()
    interval = student_interval(differences, *pooled_spread([differences]))
    return [
        str(len(places)), f"{first:.3f} against {second:.3f}", _interval(interval),
        f"{sum(value > 0 for value in differences)} of {len(places)}",
    ]  # fmt: skip


def _matched(
    found: Sequence[Finding], first: str, second: str, match: str
) -> Iterator[tuple[Finding, Finding]]:
    """Cells of two sites on the same blocks, of equal rank or as nearly equal as ranks allow."""
    for one in found:
        for other in found:
            if (one.site, other.site) != (first, second) or one.blocks != other.blocks:
                continue
            step = max(f.parameters / f.rank for f in (one, other))
            is_near = abs(one.parameters - other.parameters) <= step / 2
            if is_near if match == "parameters" else one.rank == other.rank:
                yield one, other


def correlations_table(correlations: Sequence[Correlation]) -> str:
    """Whether the probe foretold it; nothing where there is no probe."""
    rows = [["probe, of single blocks", "loss", "site", "rank", "cells", "rank correlation"]]
    rows += [
        [
            row.score,
            row.loss,
            row.site,
            str(row.rank),
            str(row.cells),
            _number(row.rank_correlation, 2),
        ]
        for row in correlations
    ]
    return text_table(rows) if correlations else ""


def missing(failed: Mapping[str, str], passed_over: Sequence[str]) -> str:
    """What the tables don't have, a line each: cells that failed, lines that can't be read."""
    lines = [f"{name} failed: {reason}" for name, reason in failed.items()]
    return "\n".join([*lines, *passed_over])


def _interval(interval: Interval) -> str:
    """The mean alone where there is no interval."""
    return _number(interval.mean) if math.isnan(interval.low) else str(interval)


def _price(gain: float, cost: float) -> str:
    """Gain for so much; there is no price of what isn't there."""
    return f"{gain / cost:.3f}" if gain > 0 and cost else "-"


def _number(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
