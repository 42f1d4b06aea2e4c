"""A finished run as a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distmatch.evals.page import COSTS, ELSEWHERE, measured_page
from distmatch.models.saved_adapter import SavedAdapter
from distmatch.plots import drawn
from distmatch.reports import Page, TableView, save_page
from distmatch.reports.saving import REPORT_PAGE
from distmatch.runs.outcome import METRICS_FILE, RunOutcome, read_kept
from distmatch.runs.run import RUN_RECORD
from distmatch.trainer import DistributionConfig

_NOT_MEASURED = f'{COSTS}: not measured; [measure] suites = ["ordinary"] in a run file measures it.'
_ALWAYS_TOLD = ("loss", "learning_rate", "per_device_train_batch_size", "seed")


def leave_page(outcome: RunOutcome, trained_on: str) -> str:
    """Write a run's page into its folder; what was written, or why it couldn't be."""
    path = outcome.folder / REPORT_PAGE
    return drawn(path, lambda path: save_page(run_page(outcome, trained_on), path))


def run_page(outcome: RunOutcome, trained_on: str = "") -> Page:
    """What was trained, what came of it, and what it costs elsewhere.

    Args:
        outcome: Of the run.
        trained_on: On what, in words; empty: as its metrics have it.

    Raises:
        DataError: Nothing was measured, or the run's record can't be read.
    """
    record = read_kept(outcome.folder / RUN_RECORD)
    title = outcome.folder.resolve().name
    page = measured_page(title, _sentence(record, outcome), outcome.suites)
    curve = [] if not outcome.history else [_training(outcome.history)]
    not_measured = [] if {*ELSEWHERE} & {*outcome.suites} else [_NOT_MEASURED]
    return replace(
        page,
        views=[*page.views, *curve],
        notes=[*_training_told(record, outcome, trained_on), *page.notes, *not_measured],
    )


def _training_told(
    record: Mapping[str, Any], outcome: RunOutcome, trained_on: str
) -> Iterator[str]:
    """On what it was trained, and how."""
    kept = outcome.folder / METRICS_FILE
    if not trained_on and kept.is_file():
        trained_on = read_kept(kept).get("trained_on", "")
    if trained_on:
        yield f"Trained on {trained_on[0].lower()}{trained_on[1:]}"
    known = {name: getattr(DistributionConfig, name) for name in _ALWAYS_TOLD}
    settings = known | record["train"]
    listed = ", ".join(f"{name} {value}" for name, value in settings.items())
    yield f"Settings of training, the rest as by default: {listed}."


def _asks_for_words(outcome: RunOutcome) -> bool:
    """Whether anything asked for probabilities of words."""
    return any("control_tvd" in report.metrics for report in outcome.after.values())


def _sentence(record: Mapping[str, Any], outcome: RunOutcome) -> str:
    adapter = SavedAdapter.read(outcome.folder)
    who = adapter.base_name if adapter else "A model"
    for_words = "taught to give words the probabilities asked for"
    what = for_words if _asks_for_words(outcome) else "trained"
    told = ", ".join([f"{who} was {what}", *_told(record)])
    return f"{told}; measured before and after on {_asked(outcome)}"


def _told(record: Mapping[str, Any]) -> Iterator[str]:
    lora = record.get("lora") or {}
    if lora:
        target = lora.get("expression", "a PEFT configuration")
        yield f"by LoRA on {'all linear sites' if target == 'all' else target}"
        if "rank" in lora:
            yield f"rank {lora['rank']}"
    else:
        yield "by an adapter trained further"
    if "max_steps" in record["train"]:
        yield f"{record['train']['max_steps']} steps"
    rows = record["data"]["train"]
    if isinstance(rows, str):
        yield f"{rows.partition(',')[0]} to train on"


def _asked(outcome: RunOutcome) -> str:
    counts = (f"{name} ({report.num_examples})" for name, report in outcome.after.items())
    return f"{', '.join(counts)}."


def _training(history: Sequence[Mapping[str, Any]]) -> TableView:
    """What training logged, a row a line."""
    names = dict.fromkeys(name for line in history for name in line)
    columns = ["step", *sorted(name for name in names if name not in ("step", "epoch"))]
    rows = [[float(line.get(name, "nan")) for name in columns] for line in history]
    return TableView(title="Training", columns=columns, rows=rows)
