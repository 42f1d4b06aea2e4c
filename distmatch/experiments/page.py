"""What came of an experiment as a page: its verdict, every figure by arm, every item by arm."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distmatch.data.jsonl import value_key
from distmatch.evals import Report
from distmatch.evals.views import chosen_by, item_value, messages, value_text
from distmatch.experiments.arms import ARMS, Unit
from distmatch.experiments.places import AtPlace, ExperimentMap
from distmatch.experiments.running import ExperimentOutcome
from distmatch.experiments.together import COLUMNS, ReadTogether
from distmatch.experiments.verdict import OUTCOMES, Evidence
from distmatch.reports import AskedItem, ItemsView, KeyFigure, MapView, Page, PlaceFacts, TableView
from distmatch.reports.drawing import number_text


def experiment_page(outcome: ExperimentOutcome) -> Page:
    """The question, what the rule says of it, and all that was asked."""
    verdict, experiment = outcome.verdict, outcome.experiment
    suites = dict.fromkeys(name for reports in outcome.measured.values() for name in reports)
    return Page(
        title=f"{experiment.name}: {verdict.outcome}",
        sentence=experiment.question,
        figures={"The primary contrast": _primary(outcome)},
        notes=[
            f"{verdict.outcome}: {OUTCOMES[verdict.outcome]}; {verdict.counts}.",
            f"By the rule written before, it is refuted if {experiment.rule}.",
        ],
        views=[
            *_beside(outcome),
            *_adapters(outcome),
            _arms(outcome),
            *(_items(outcome, suite) for suite in suites),
        ],
    )


def _primary(outcome: ExperimentOutcome) -> list[KeyFigure]:
    verdict, primary = outcome.verdict, outcome.experiment.primary
    sides = {"trained": verdict.evidence, "told": verdict.told, "reader": verdict.reader}
    return [
        KeyFigure(
            name=name,
            reading=f"{primary.probe}, own less referent, {primary.fit} on behaviour by exchange",
            values={name: found.interval},
            marks={"a truth-teller": found.truth},
        )
        for name, found in sides.items()
        if found is not None
    ]


def _beside(outcome: ExperimentOutcome) -> list[TableView]:
    """What an experiment shows before its primary contrast."""
    rows = outcome.experiment.rows_beside(outcome.measured)
    if not rows:
        return []
    note = outcome.experiment.told_beside(outcome.measured).rpartition("\n")[2]
    return [TableView(title="Matrix", columns=rows[0], rows=rows[1:], note=note)]


def _adapters(outcome: ExperimentOutcome) -> list[TableView]:
    """Behaviour and report of each adapter of the primary contrast."""
    found = {"trained": outcome.verdict.evidence, "told": outcome.verdict.told}
    rows = [row for arm, some in found.items() if some is not None for row in _reported(arm, some)]
    columns = ["arm", "adapter", "behaviour", "report, own less referent"]
    return [TableView(title="Adapters", columns=columns, rows=rows)] if rows else []


def _reported(arm: str, found: Evidence) -> list[Sequence[str]]:
    def told(values: Sequence[float]) -> str:
        return ", ".join(map(number_text, values))

    pairs = zip(found.units, found.behaviours, found.reports, strict=True)
    return [[arm, unit, told(acted), told(said)] for unit, acted, said in pairs]


def _arms(outcome: ExperimentOutcome) -> TableView:
    """Every figure of every probe, arms and base in columns."""
    lines = outcome.lines
    arms = [arm for arm in ARMS if any(arm in line.cells for line in lines)]
    compared = list(dict.fromkeys(arm for line in lines for arm in line.differences))
    rows: list[Any] = []
    for line in lines:
        cells = [tuple(line.cells[a].interval) if a in line.cells else math.nan for a in arms]
        apart = line.differences
        differences = [tuple(apart[arm]) if arm in apart else math.nan for arm in compared]
        silent = ", ".join(arm for arm in arms if arm in line.unanswered)
        rows.append([line.probe, line.figure, line.whose, *cells, *differences, silent])
    less = [f"trained - {arm}" for arm in compared]
    columns = ["probe", "figure", "whose", *arms, *less, "not answered"]
    note = (
        "Means over units, with intervals where there are enough; all of it is exploratory. Where "
        "less than half of the mass is on valid answers it isn't answered, and no report."
    )
    return TableView(title="Arms", columns=columns, rows=rows, note=note)


def _items(outcome: ExperimentOutcome, suite: str) -> ItemsView:
    """A suite's items, each with its headline as the mean over the units of every arm."""
    units = [u for u in outcome.experiment.units if suite in outcome.measured.get(u.name, {})]
    arms = [arm for arm in ARMS if any(unit.arm == arm for unit in units)]
    reports = {unit.name: outcome.measured[unit.name][suite] for unit in units}
    metric = next(iter(reports.values())).headline.name
    asked: dict[str, tuple[Report, int]] = {}
    values: dict[tuple[str, str], list[float]] = {}
    said: dict[str, dict[str, str]] = {}
    for unit in units:
        report = reports[unit.name]
        for row in range(len(report.items)):
            key = _key(report, row)
            asked.setdefault(key, (report, row))
            values.setdefault((key, unit.arm), []).append(item_value(report, metric, row))
            said.setdefault(key, {}).update(_said(unit, report, row))
    return ItemsView(
        title=f"Items: {suite}",
        series=arms,
        columns=[f"{metric} {arm}" for arm in arms],
        items=[
            AskedItem(
                prompt=messages(report.items.prompts[row]) if report.items.prompts else (),
                cells=[_mean(values.get((key, arm), ())) for arm in arms],
                said=said[key],
                known={k: value_text(v) for k, v in report.items.metadata[row].items()},
            )
            for key, (report, row) in asked.items()
        ],
        choices=chosen_by([report.items.metadata[row] for report, row in asked.values()]),
    )


def _key(report: Report, row: int) -> str:
    """What tells an item apart from others of its suite; not a rule that its unit alone is told."""
    prompt = messages(report.items.prompts[row]) if report.items.prompts else []
    asked = [message for message in prompt if message[0] != "system"]
    return value_key([asked, report.items.metadata[row]])


def _said(unit: Unit, report: Report, row: int) -> dict[str, str]:
    return {unit.name: value_text(report.items.said[row])} if report.items.said else {}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def places_page(mapped: ExperimentMap) -> Page:
    """Where behaviour and its report live: both maps side by side, above all of the whole."""
    page = experiment_page(mapped.whole)
    maps = ["behaviour", *(["report"] if mapped.has_reports else [])]
    whole = mapped.all_blocks
    note = "" if mapped.has_reports else f"No map of reports: {mapped.whole.verdict.outcome}. "
    view = MapView(
        title="Layers",
        rows=[str(block) for block in sorted({place.numbers[0] for place in mapped.places})],
        columns=sorted({place.site for place in mapped.places}),
        maps=maps,
        places=[
            PlaceFacts(place.blocks, place.site, _mapped(one), _facts(one))
            for place, one in mapped.places.items()
        ],
        references={name: {"all": _mapped(whole)[name]} for name in maps},
        note=f"{note}Adapters trained in one place each; 1 is all of it.",
    )
    return Page(
        title=page.title,
        sentence=page.sentence,
        figures=page.figures,
        notes=page.notes,
        views=[view, *page.views],
    )


def _mapped(one: AtPlace) -> dict[str, float]:
    return {"behaviour": one.behaviour.mean, "report": one.report.mean}


def _facts(one: AtPlace) -> dict[str, str]:
    facts = {
        "behaviour": number_text(one.behaviour),
        "taught": f"{one.num_taught} of {one.num_learned}",
    }
    if one.verdict is None:
        return facts
    return facts | {
        "report": number_text(one.report),
        "answer": f"{one.verdict.num_answered} of these",
        "verdict": one.verdict.outcome,
    }


def together_page(folder: str | Path, read: Sequence[ReadTogether]) -> Page:
    """Verdicts of experiments, with p-values corrected for how many are read together.

    Args:
        folder: Where the page goes, which is called by it.
        read: One each.
    """
    rows: list[Any] = [
        [
            *(one.folder, one.name, one.outcome, tuple(one.value), tuple(one.told)),
            *(one.truth, one.p, one.corrected),
        ]
        for one in read
    ]
    return Page(
        title=Path(folder).resolve().name,
        sentence=f"{len(read)} experiments read together.",
        views=[TableView(title="Verdicts", columns=COLUMNS, rows=rows)],
    )
