"""What was measured of one model, or of several, as a page."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distmatch.errors import DataError, listed, shown
from distmatch.evals.report import Report
from distmatch.evals.store import SETTINGS_FILE, Store
from distmatch.evals.suites import SUITES, Knowledge, Ordinary, OwnExamples
from distmatch.evals.views import (
    Compared,
    answers_view,
    groups_view,
    items_view,
    key_figures,
    metrics_view,
    price_figures,
)
from distmatch.measuring.intervals import CONFIDENCE
from distmatch.reports import KeyFigure, Page, save_page

ASKED_FILE = "asked.txt"
"""Beside a suite's report, what whoever was asked is called."""
COSTS = "What it costs elsewhere"
_HASH, _DIGITS = re.compile("[0-9a-f]{64}"), 16
BRACKETS = f"In brackets {CONFIDENCE:.0%} intervals, bootstrapped over what was asked."
_WORDS_ALONE = (
    "tvd is total variation distance from what is asked; control_tvd is that of the answers that "
    "are one of the words, renormalised, and so are dots."
)
_FEW_ITEMS = 20
ELSEWHERE = (Ordinary.name, Knowledge.name)
"""Suites that ask for something else than what is taught."""


def measured_page(title: str, sentence: str, suites: Mapping[str, Compared]) -> Page:
    """Key figures, then items, answers in writing, metrics and groups of every suite.

    Args:
        title: Of the page.
        sentence: What was done.
        suites: By name, reports on the same items; examples of yours, or else the first suite, have
            the first screen.
    """
    main = OwnExamples.name if OwnExamples.name in suites else next(iter(suites))
    views: list[Any] = [items_view(main, suites[main])]
    views += [answers_view(name, reports) for name, reports in suites.items()]
    views.append(metrics_view(suites))
    for name, reports in suites.items():
        views.append(groups_view(name, reports))
        if name != main:
            views.append(items_view(name, reports))
    return Page(
        title=title,
        sentence=sentence,
        figures=first_screen(main, suites),
        views=[view for view in views if view is not None],
        notes=_notes(suites),
    )


def _notes(suites: Mapping[str, Compared]) -> list[str]:
    """What the library's own suites ask, and how figures are read."""
    last = {name: list(reports.values())[-1] for name, reports in suites.items()}
    questions = " ".join(f"{name}: {SUITES[name].question}" for name in suites if name in SUITES)
    told = [BRACKETS]
    if any("control_tvd" in report.metrics for report in last.values()):
        told.append(_WORDS_ALONE)
    few = [name for name, report in last.items() if report.num_examples < _FEW_ITEMS]
    if few:
        told.append(
            f"Fewer than {_FEW_ITEMS} items are too few for them to mean much: {listed(few)}."
        )
    return [*filter(None, [questions]), " ".join(told)]


def suites_page(folder: str | Path, models: Mapping[str, Mapping[str, Report]]) -> Page:
    """What models were asked, of the suites that the first one was asked.

    Args:
        folder: Where the page goes, which is called by it.
        models: By name ("" for one alone), reports by suite; of several on the same items.
    """
    first = next(iter(models.values()))
    suites = {
        suite: {name: reports[suite] for name, reports in models.items() if suite in reports}
        for suite in first
    }
    told = ", ".join(f"{suite} ({report.num_examples} items)" for suite, report in first.items())
    who = f"{len(models)} models, {', '.join(models)}, were" if len(models) > 1 else "A model was"
    title = Path(folder).resolve().name
    page = measured_page(title, f"{who} asked {told}.", suites)
    asked = next(iter(first))
    if not (Path(folder) / asked / SETTINGS_FILE).is_file():
        return page
    known = Path(folder) / asked / ASKED_FILE
    called = known.read_text(encoding="utf-8") if known.is_file() else ""
    who_was_asked = _who_was_asked(called, Store(Path(folder)).settings(asked))
    return replace(page, notes=[*page.notes, who_was_asked])


def _who_was_asked(called: str, settings: Mapping[str, Any]) -> str:
    """Their names, and what a suite's settings say of them, who are known by their bytes."""
    known = (
        f"{name} {value if isinstance(value, str) else shown(value)}"
        for name, value in settings.items()
        if "." not in name and value is not None
    )
    told = ", ".join([*filter(None, [called]), *known])
    brief = _HASH.sub(lambda found: f"{found[0][:_DIGITS]}...", told)
    return f"Who was asked: {brief}" + ("." if brief == told else f" ({SETTINGS_FILE} has all).")


def comparison_page(folder: str | Path, suites: Mapping[str, Compared]) -> Page:
    """How later models, or ways of asking, differ from the first.

    Args:
        folder: Where the page goes, which is called by it.
        suites: By name, reports on the same items.
    """
    told = (f"{name}: {', '.join(reports)}" for name, reports in suites.items())
    sentence = f"Compared on the same items, with the first; {'; '.join(told)}."
    return measured_page(Path(folder).resolve().name, sentence, suites)


def first_screen(main: str, suites: Mapping[str, Compared]) -> dict[str, list[KeyFigure]]:
    """Key figures by heading: of the main suite, of what was asked too, of what it costs."""
    prices = [name for name in ELSEWHERE if name in suites and name != main]
    besides = [name for name in suites if name not in (main, *prices)]
    found = {
        main: key_figures(suites[main]),
        COSTS: [figure for name in prices for figure in price_figures(name, suites[name])],
        "Asked besides": [
            figure
            for name in besides
            for figure in price_figures(name, suites[name], headline=True)
        ],
    }
    return {heading: figures for heading, figures in found.items() if figures}


def save_report_page(
    path: str | Path,
    reports: Report | Compared,
    *,
    sentence: str = "",
    suite: str = OwnExamples.name,
) -> None:
    """Write what was measured as one file to open or send on, `report.html`.

    Args:
        path: The file; the page is called by its folder.
        reports: One, or several on the same items by what they are of, such as "before" and
            "after", of which the last counts.
        sentence: What was done, such as of which model they are and how it was trained.
        suite: What they are reports of; what is in `distmatch.evals.SUITES` the page explains.

    Raises:
        DataError: There is no report, or they are of different items.
        MissingExtraError: The extra `plots` isn't installed.
    """
    compared = {"": reports} if isinstance(reports, Report) else reports
    if not compared:
        raise DataError("there is no report to make a page of")
    title = Path(path).resolve().parent.name
    items = next(iter(compared.values())).num_examples
    measured = f"Measured on {suite} ({items} items)."
    page = measured_page(title, " ".join(filter(None, [sentence, measured])), {suite: compared})
    save_page(page, path)
