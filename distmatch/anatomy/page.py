"""An adapter taken apart as a page."""

from collections.abc import Mapping
from typing import Any

from distmatch.anatomy.parts import ALL, NONE, ONLY, TIMES, WITHOUT, Part, Place
from distmatch.anatomy.taken_apart import TakenApart
from distmatch.evals.views import items_view, word_dots
from distmatch.reports import KeyFigure, MapView, Page, PlaceFacts, TableView
from distmatch.reports.drawing import number_text

_KEPT, _LOST, _TRAINED = "kept alone", "lost without", "trained alone"


def apart_page(title: str, apart: TakenApart, trained: Mapping[Place, float] | None = None) -> Page:
    """What each place of an adapter does.

    Args:
        title: Of the page.
        apart: Its parts' reports.
        trained: Control above their base's of adapters that were trained in one place alone.
    """
    base, whole = (apart.reports[name] for name in (NONE, ALL))
    return Page(
        title=title,
        sentence=(
            f"An adapter was measured on {whole.num_examples} examples with each of "
            f"{len(apart.places)} places kept alone, with each left out, and as a whole by factors."
        ),
        figures={"The whole adapter": [_gained(apart)]},
        views=[
            _map(apart, trained or {}),
            items_view("examples", {"base": base, "whole adapter": whole}),
            *_times(apart),
        ],
    )


def _gained(apart: TakenApart) -> KeyFigure:
    return KeyFigure(
        name="control",
        reading="TVD nearer to what is asked than the base",
        values={"whole adapter": apart.whole},
    )


def _map(apart: TakenApart, trained: Mapping[Place, float]) -> MapView:
    return MapView(
        title="Layers",
        rows=[str(block) for block in sorted({place.block for place in apart.places})],
        columns=sorted({place.site for place in apart.places}),
        maps=[*([_TRAINED] if trained else []), _KEPT, _LOST],
        places=[_place(apart, place, trained) for place in apart.places],
        references={name: {"all": apart.whole.mean} for name in (_KEPT, _LOST)},
        note="Control (TVD) that a place has by itself above the base, and what the whole adapter "
        "loses without it; dots are of the place by itself."
        + (" Trained alone: above the sweep's base, on the sweep's examples." if trained else ""),
    )


def _place(apart: TakenApart, place: Place, trained: Mapping[Place, float]) -> PlaceFacts:
    gained, lost = apart.gained(place), apart.lost(place)
    values = {_KEPT: gained.mean, _LOST: lost.mean}
    if place in trained:
        values[_TRAINED] = trained[place]
    facts = {_KEPT: number_text(gained), _LOST: number_text(lost)}
    for told, kind in ((_KEPT, ONLY), (_LOST, WITHOUT)):
        metrics = apart.reports[Part(kind, place).name].metrics
        for name in ("control_tvd", "slope", "other"):
            facts[f"{name}, {told}"] = number_text(metrics[name])
    alone = word_dots(apart.reports[Part(ONLY, place).name])
    return PlaceFacts(str(place.block), place.site, values, facts, alone)


def _times(apart: TakenApart) -> list[TableView]:
    """The whole adapter by each factor."""
    rows: list[Any] = []
    for part in apart.parts:
        if part.kind == TIMES:
            metrics = apart.reports[part.name].metrics
            values = [tuple(metrics[name]) for name in ("control_tvd", "slope", "other")]
            rows.append([part.times, apart.control(part), *values])
    columns = ["times", "control", "control_tvd", "slope", "other"]
    return [TableView(title="By factors", columns=columns, rows=rows)] if rows else []
