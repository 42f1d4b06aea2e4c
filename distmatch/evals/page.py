"""What was measured of one model, or of several, as a page."""

from collections.abc import Mapping
from typing import Any

from distmatch.evals.suites import OwnExamples
from distmatch.evals.views import (
    Compared,
    groups_view,
    items_view,
    key_figures,
    metrics_view,
    price_figure,
)
from distmatch.reports import KeyFigure, Page

COSTS = "What it costs elsewhere"
_ELSEWHERE = ("ordinary", "knowledge")
"""Suites that ask for something else than what is taught."""


def measured_page(title: str, sentence: str, suites: Mapping[str, Compared]) -> Page:
    """Key figures, then items, groups and metrics of every suite.

    Args:
        title: Of the page.
        sentence: What was done.
        suites: By name, reports on the same items; examples of yours, or else the first suite, have
            the first screen.
    """
    main = OwnExamples.name if OwnExamples.name in suites else next(iter(suites))
    views: list[Any] = [items_view(main, suites[main]), metrics_view(suites)]
    for name, reports in suites.items():
        views.append(groups_view(name, reports))
        if name != main:
            views.append(items_view(name, reports))
    return Page(
        title=title,
        sentence=sentence,
        figures=first_screen(main, suites),
        views=[view for view in views if view is not None],
    )


def first_screen(main: str, suites: Mapping[str, Compared]) -> dict[str, list[KeyFigure]]:
    """Key figures by heading: of the main suite, of what was asked too, of what it costs."""
    rest = {name: price_figure(name, reports) for name, reports in suites.items() if name != main}
    found = {
        main: key_figures(suites[main]),
        COSTS: [figure for name, figure in rest.items() if name in _ELSEWHERE],
        "Asked besides": [figure for name, figure in rest.items() if name not in _ELSEWHERE],
    }
    return {heading: figures for heading, figures in found.items() if figures}
