"""A sweep's folder → tables and figures: which layers learned it, at what price."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from distmatch import plots
from distmatch.evals.report import text_table
from distmatch.files import write_text
from distmatch.measuring.intervals import Interval
from distmatch.plots import drawn as draw
from distmatch.sweeps.cells import MATCHES
from distmatch.sweeps.correlations import probe_correlations
from distmatch.sweeps.findings import (
    Finding,
    Place,
    control,
    metric,
    pooled_spread,
    student_interval,
)
from distmatch.sweeps.probe import Score

_MAPPED = ("copying", "control")


def write_report(
    folder: Path,
    found: Sequence[Finding],
    base: Mapping[str, Mapping[str, Any]],
    scores: Sequence[Score],
    *,
    failed: Mapping[str, str],
    passed_over: Sequence[str],
) -> str:
    """Leave report.md, report.json, cells.csv and figures; the text is that of report.md.

    Args:
        folder: Where they go.
        found: What the cells say; one or more.
        base: The base's metrics, by name of the examples; the first is what is learned, the others
            are transfer.
        scores: Of the probe; empty: it isn't there.
        failed: Why cells have no finding, by their names.
        passed_over: What is wrong with lines of results that can't be read.

    Returns:
        The tables, what is missing in them, and which files there are.
    """
    chosen = [f for f in found if f.chosen]
    last = last_block(chosen, scores)
    whole = next((f for f in chosen if _is_whole(f, last)), None)
    told = [_table(chosen, base), _rates(found)]
    told.append(_versus([f for f in chosen if not _is_whole(f, last)]))
    correlations = probe_correlations(chosen, scores)
    if correlations:
        rows = [["probe, of single blocks", "loss", "site", "rank", "cells", "rank correlation"]]
        for row in correlations:
            rho = "-" if math.isnan(row.rank_correlation) else f"{row.rank_correlation:.2f}"
            rows.append([row.score, row.loss, row.site, str(row.rank), str(row.cells), rho])
        told.append(text_table(rows))
    told.append(missing(failed, passed_over))
    own, *others = (control(metrics) for metrics in base.values())
    figures = [
        draw(folder / "layer_maps.png", lambda path: _maps(chosen, own, whole, path)),
        draw(folder / "ranked.png", lambda path: _ranked(chosen, own, whole, path)),
        draw(folder / "ranges.png", lambda path: _ranges(chosen, own, last, whole, path)),
    ]
    if any(len(f.numbers) == 1 and not f.chosen for f in found):
        figures.append(draw(folder / "learning_rates.png", lambda path: _rate_maps(found, path)))
    write_text(folder / "cells.csv", _csv(found))
    content = {
        "cells": [asdict(finding) for finding in found],
        "base": {
            "copying": 0.0,
            "control": own,
            "slope": metric(next(iter(base.values())), "slope"),
            "transfer": dict(zip(list(base)[1:], others, strict=True)),
        },
        "probe": [row._asdict() for row in correlations],
        "failed": failed,
        "passed_over": passed_over,
    }
    write_text(
        folder / "report.json", json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"
    )
    text = "\n\n".join(filter(None, told))
    write_text(folder / "report.md", f"# Layer sweep\n\n```\n{text}\n```\n")
    return "\n".join([text, "", *figures, f"wrote {folder / 'report.md'}, report.json, cells.csv"])


def missing(failed: Mapping[str, str], passed_over: Sequence[str]) -> str:
    """What the tables don't have, a line each: cells that failed, lines that can't be read."""
    lines = [f"{name} failed: {reason}" for name, reason in failed.items()]
    return "\n".join([*lines, *passed_over])


def last_block(found: Sequence[Finding], scores: Sequence[Score]) -> int:
    """The number of the model's last block; without a probe, of the last that has learned.

    Args:
        found: What the cells say; one or more.
        scores: Of the probe, which is of every block.
    """
    return max(*(f.numbers[-1] for f in found), *(score.block for score in scores), 0)


def _is_whole(finding: Finding, last: int) -> bool:
    """Whether it is of all sites in all blocks, which others are held against."""
    return finding.site == "all" and finding.numbers == tuple(range(last + 1))


def _table(found: Sequence[Finding], base: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a cell, and first one of the base."""
    transfers = list(found[0].transfer)
    own, *others = (control(metrics) for metrics in base.values())
    slope = metric(next(iter(base.values())), "slope")
    rows = [
        [
            "cell", "rank", "learning rate", "parameters", "seeds", "control", "slope", "copying",
            *(f"control, {name}" for name in transfers),
            "KL", "s", "gain / 1M parameters", "gain / min", "gain / PFLOP",
        ],
        [
            "base", "", "", "0", "", _number(own), _number(slope, 2), "0.000",
            *map(_number, others), "0.0000", *[""] * 4,
        ],
    ]  # fmt: skip
    for finding in found:
        gain = finding.control.mean - own
        rows.append(
            [
                finding.name,
                str(finding.rank),
                f"{finding.learning_rate:g}",
                f"{finding.parameters:,}",
                str(finding.num_seeds),
                str_of(finding.control),
                _number(finding.slope, 2),
                str_of(finding.copying),
                *(_number(finding.transfer[name]) for name in transfers),
                f"{finding.kl:.4f}",
                f"{finding.train_seconds:.0f}",
                _price(gain, finding.parameters / 1e6),
                _price(gain, finding.train_seconds / 60),
                _price(gain, finding.flops / 1e15),
            ]
        )
    return text_table(rows)


def _rates(found: Sequence[Finding]) -> str:
    """Control at each learning rate of places with several, and what of it decided."""
    rates = sorted({f.learning_rate for f in found})
    places: dict[Place, dict[float, Finding]] = {}
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


def str_of(interval: Interval) -> str:
    """Without an interval where there is none."""
    return _number(interval.mean) if math.isnan(interval.low) else str(interval)


def _price(gain: float, cost: float) -> str:
    """Gain for so much; there is no price of what isn't there."""
    return f"{gain / cost:.3f}" if gain > 0 and cost else "-"


def _number(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _versus(found: Sequence[Finding]) -> str:
    """Two sites' control on the same blocks, by what is matched; a place is some blocks."""
    sites = sorted({f.site for f in found})
    rows = [["on the same blocks", "matched", "places", "control, mean", "difference", "better on"]]
    for first, second in combinations(sites, 2):
        for kind in ("single blocks", "ranges"):
            some = [f for f in found if (len(f.numbers) == 1) == (kind == "single blocks")]
            for match in MATCHES:
                places: dict[str, list[tuple[float, float]]] = {}
                for one, other in _matched(some, first, second, match):
                    pair = one.control.mean, other.control.mean
                    if not any(map(math.isnan, pair)):
                        places.setdefault(one.blocks, []).append(pair)
                if places:
                    name = f"{first} against {second}, {kind}"
                    rows.append([name, match, *_compared(list(places.values()))])
    return text_table(rows) if len(rows) > 1 else ""


def _compared(places: Sequence[Sequence[tuple[float, float]]]) -> list[str]:
    """Their number, both means, the mean difference with its interval, and where it is above 0."""
    means = np.array([np.mean(pairs, axis=0) for pairs in places])
    first, second = means.mean(0)
    differences = (means[:, 0] - means[:, 1]).tolist()
    interval = student_interval(differences, *pooled_spread([differences]))
    return [
        str(len(places)), f"{first:.3f} against {second:.3f}", str_of(interval),
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


def _called(places: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """What sites are called, with the rank where there are several, by site and rank."""
    num_ranks = Counter(site for site, _ in places)
    return {
        (site, rank): site if num_ranks[site] == 1 else f"{site}, rank {rank}"
        for site, rank in sorted(places)
    }


def _maps(found: Sequence[Finding], base: float, whole: Finding | None, path: Path) -> None:
    single = [f for f in found if len(f.numbers) == 1]
    references = {name: {"base": base if name == "control" else 0.0} for name in _MAPPED}
    if whole is not None:
        for name, values in references.items():
            values["all"] = getattr(whole, name).mean
    maps = {name: {f.place: getattr(f, name).mean for f in single} for name in _MAPPED}
    plots.layer_maps(*_laid_out(maps), references=references, path=path)


def _rate_maps(found: Sequence[Finding], path: Path) -> None:
    """Control of single blocks at each learning rate."""
    maps: dict[str, dict[Place, float]] = {}
    for f in sorted(found, key=lambda f: f.learning_rate):
        if len(f.numbers) == 1:
            maps.setdefault(f"control at {f.learning_rate:g}", {})[f.place] = f.control.mean
    plots.layer_maps(*_laid_out(maps), one_scale=True, path=path)


def _laid_out(
    maps: Mapping[str, Mapping[Place, float]],
) -> tuple[dict[str, np.ndarray], list[int], list[str]]:
    """Values of single blocks as maps of one layout, with what rows and columns are called."""
    places = {place for values in maps.values() for place in values}
    called = _called({(place.site, place.rank) for place in places})
    blocks, columns = sorted({int(place.blocks) for place in places}), list(called)
    drawn = {}
    for name, values in maps.items():
        drawn[name] = np.full((len(blocks), len(columns)), np.nan)
        for place, value in values.items():
            column = columns.index((place.site, place.rank))
            drawn[name][blocks.index(int(place.blocks)), column] = value
    return drawn, blocks, list(called.values())


def _ranked(found: Sequence[Finding], base: float, whole: Finding | None, path: Path) -> None:
    values = {f"{f.name} (rank {f.rank}, {f.learning_rate:g})": tuple(f.control) for f in found}
    label = "control: TVD below the best policy without the numbers"
    plots.layer_ranking(values, label, levels=_levels(base, whole), path=path)


def _ranges(
    found: Sequence[Finding], base: float, last: int, whole: Finding | None, path: Path
) -> None:
    """Control over the number of blocks, from the bottom and from the top."""
    ranges = [f for f in found if 1 < len(f.numbers) == _span(f) and not _is_whole(f, last)]
    curves = {
        "from the bottom": _curves([f for f in ranges if f.numbers[0] == 0]),
        "from the top": _curves([f for f in ranges if f.numbers[-1] == last]),
    }
    called = _called({place for panel in curves.values() for place in panel})
    panels = {
        title: {name: panel[place] for place, name in called.items() if place in panel}
        for title, panel in curves.items()
    }
    plots.layer_curves(panels, ("blocks", "control"), levels=_levels(base, whole), path=path)


def _curves(ranges: Sequence[Finding]) -> dict[tuple[str, int], list[tuple[float, ...]]]:
    """Numbers of blocks and control with its interval, by site and rank; of two ranges or more."""
    curves: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for f in ranges:
        if not math.isnan(f.control.mean):
            curves.setdefault((f.site, f.rank), []).append((float(len(f.numbers)), *f.control))
    return {place: points for place, points in curves.items() if len(points) > 1}


def _levels(base: float, whole: Finding | None) -> dict[str, float]:
    """Control of what others are held against."""
    return {"base": base} | ({} if whole is None else {whole.name: whole.control.mean})


def _span(finding: Finding) -> int:
    return finding.numbers[-1] - finding.numbers[0] + 1


def _csv(found: Sequence[Finding]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    transfers = list(found[0].transfer)
    names = ("site", "blocks", "rank", "learning_rate", "chosen", "parameters", "num_seeds")
    prices = ("tuning", "slope", "tvd", "kl", "train_seconds", "flops")
    ends = [f"{name}{end}" for name in _MAPPED for end in ("", "_low", "_high")]
    writer.writerow([*names, *ends, *(f"control, {name}" for name in transfers), *prices])
    for f in found:
        own = [getattr(f, name) for name in names]
        values = [value for name in _MAPPED for value in getattr(f, name)]
        rest = [*(f.transfer[name] for name in transfers), *(getattr(f, name) for name in prices)]
        writer.writerow([*own, *values, *rest])
    return text.getvalue()


def _plain(content: Any) -> Any:
    """With None for what is not a number."""
    if isinstance(content, Mapping):
        return {name: _plain(value) for name, value in content.items()}
    if isinstance(content, tuple | list):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
