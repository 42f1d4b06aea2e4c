"""A sweep's figures: maps of single blocks, the best cells, ranges from either end."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from distmatch import plots
from distmatch.plots import drawn as draw
from distmatch.sweeps.cells import CellPlace
from distmatch.sweeps.findings import Finding
from distmatch.sweeps.headlines import CONTROL, MAPPED
from distmatch.sweeps.outcome import Sweep

_Curve = list[tuple[float, ...]]
"""Numbers of blocks and control with its interval."""


def draw_figures(sweep: Sweep, folder: Path) -> list[str]:
    """Leave a sweep's figures in a folder, and say of each that it was written, or why not."""
    figures = {"layer_maps": draw_maps, "ranked": draw_ranking, "ranges": draw_ranges}
    if any(place.is_single for one in sweep.suites for place in one.places):
        figures["suite_maps"] = draw_suites
    if any(f.is_single and f.transfer for f in sweep.chosen):
        figures["control_maps"] = draw_transfer
    if any(f.is_single and not f.chosen for f in sweep.findings):
        figures["learning_rates"] = draw_rates
    return [
        draw(folder / f"{name}.png", lambda path, figure=figure: figure(sweep, path))  # type: ignore[misc]
        for name, figure in figures.items()
    ]


def draw_maps(sweep: Sweep, path: Path | None = None) -> object:
    """Each headline of single blocks, at their chosen learning rates."""
    single = [f for f in sweep.chosen if f.is_single]
    maps, references = {}, {}
    for headline in MAPPED:
        maps[headline.name] = {f.place: f.gains[headline.name].mean for f in single}
        references[headline.name] = {"base": headline.of_base(sweep.base.learned)}
        if sweep.whole is not None:
            references[headline.name]["all"] = sweep.whole.gains[headline.name].mean
    return plots.layer_maps(*_laid_out(maps), references=references, path=path)


def draw_transfer(sweep: Sweep, path: Path) -> None:
    """Control of single blocks on the examples that were learned, and on each other set."""
    single = [f for f in sweep.chosen if f.is_single]
    names = sweep.base.transfer
    sets = [CONTROL.name, *(f"{CONTROL.name}, {name}" for name in names)]

    def of(finding: Finding) -> list[float]:
        return [finding.control.mean, *(finding.transfer[name] for name in names)]

    learned, others = sweep.base.learned, sweep.base.transfer.values()
    references = {
        name: {"base": CONTROL.of_base(metrics)}
        for name, metrics in zip(sets, (learned, *others), strict=True)
    }
    if sweep.whole is not None:
        for name, value in zip(sets, of(sweep.whole), strict=True):
            references[name]["all"] = value
    values = [(f.place, of(f)) for f in single]
    maps = {name: {place: each[k] for place, each in values} for k, name in enumerate(sets)}
    plots.layer_maps(*_laid_out(maps), references=references, one_scale=True, path=path)


def draw_suites(sweep: Sweep, path: Path) -> None:
    """How far each suite's headline is from the base's, in single blocks; faint: by chance."""
    maps, chance, references = {}, {}, {}
    for one in sweep.suites:
        single = {p: d for p, d in one.differences.items() if p.is_single}
        maps[one.name] = {place: difference.mean for place, difference in single.items()}
        chance[one.name] = {p: float(d.low <= 0 <= d.high) for p, d in single.items()}
        if sweep.whole is not None and sweep.whole.place in one.differences:
            references[one.name] = {"all": one.differences[sweep.whole.place].mean}
    faint = {name: values == 1 for name, values in _laid_out(chance)[0].items()}
    plots.layer_maps(*_laid_out(maps), references=references, faint=faint, path=path)


def draw_rates(sweep: Sweep, path: Path) -> None:
    """Control of single blocks at each learning rate."""
    maps: dict[str, dict[CellPlace, float]] = {}
    for f in sorted(sweep.findings, key=lambda f: f.learning_rate):
        if f.is_single:
            name = f"{CONTROL.name} at {f.learning_rate:g}"
            maps.setdefault(name, {})[f.place] = f.control.mean
    plots.layer_maps(*_laid_out(maps), one_scale=True, path=path)


def draw_ranking(sweep: Sweep, path: Path) -> None:
    """The cells with most control."""
    values = {
        f"{f.name} (rank {f.rank}, {f.learning_rate:g})": tuple(f.control) for f in sweep.chosen
    }
    plots.layer_ranking(values, CONTROL.label, levels=_levels(sweep), path=path)


def draw_ranges(sweep: Sweep, path: Path) -> None:
    """Control over the number of blocks, from the bottom and from the top."""
    ranges = [f for f in sweep.chosen if _is_range(f) and not sweep.is_whole(f)]
    curves = {
        "from the bottom": _curves([f for f in ranges if f.numbers[0] == 0]),
        "from the top": _curves([f for f in ranges if f.numbers[-1] == sweep.last_block]),
    }
    called = site_names({place for panel in curves.values() for place in panel})
    panels = {
        title: {name: panel[place] for place, name in called.items() if place in panel}
        for title, panel in curves.items()
    }
    plots.layer_curves(panels, ("blocks", CONTROL.name), levels=_levels(sweep), path=path)


def _levels(sweep: Sweep) -> dict[str, float]:
    """Control of what others are held against."""
    levels = {"base": CONTROL.of_base(sweep.base.learned)}
    return levels if sweep.whole is None else levels | {sweep.whole.name: sweep.whole.control.mean}


def _is_range(finding: Finding) -> bool:
    """Whether its blocks follow each other."""
    return 1 < len(finding.numbers) == finding.numbers[-1] - finding.numbers[0] + 1


def _curves(ranges: Sequence[Finding]) -> dict[tuple[str, int], _Curve]:
    """By site and rank; of two ranges or more."""
    curves: dict[tuple[str, int], _Curve] = {}
    for f in ranges:
        if not math.isnan(f.control.mean):
            curves.setdefault((f.site, f.rank), []).append((float(len(f.numbers)), *f.control))
    return {place: points for place, points in curves.items() if len(points) > 1}


def _laid_out(
    maps: Mapping[str, Mapping[CellPlace, float]],
) -> tuple[dict[str, np.ndarray], list[int], list[str]]:
    """Values of single blocks as maps of one layout, with what rows and columns are called."""
    places = {place for values in maps.values() for place in values}
    called = site_names({(place.site, place.rank) for place in places})
    blocks, columns = sorted({int(place.blocks) for place in places}), list(called)
    drawn = {}
    for name, values in maps.items():
        drawn[name] = np.full((len(blocks), len(columns)), np.nan)
        for place, value in values.items():
            column = columns.index((place.site, place.rank))
            drawn[name][blocks.index(int(place.blocks)), column] = value
    return drawn, blocks, list(called.values())


def site_names(places: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """What sites are called, by site and rank; with the rank where there are several."""
    num_ranks = Counter(site for site, _ in places)
    return {
        (site, rank): site if num_ranks[site] == 1 else f"{site}, rank {rank}"
        for site, rank in sorted(places)
    }
