"""Experiments read together: a primary contrast each, corrected for how many there are."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distmatch.errors import ConfigError, listed
from distmatch.evals.report import text_table
from distmatch.experiments.running import RECORD_FILE, VERDICT_FILE
from distmatch.experiments.verdict import LEVEL, REPORTS, RESULTS
from distmatch.measuring.adapters import holm
from distmatch.measuring.intervals import Interval, interval_text

_NOTHING = float("nan")
COLUMNS = (
    *("folder", "experiment", "verdict", "by exchange", "told", "a truth-teller's", "p"),
    "Holm's p",
)
NOT_TOGETHER = "not with so many tests"
"""What becomes of a report that passes alone, and not beside the others."""


class ReadTogether(NamedTuple):
    """An experiment among others."""

    folder: str
    name: str
    outcome: str
    value: Interval
    """Of the primary contrast, where there is one."""
    told: Interval
    """Of the base, told each rule: what the probe shows of one that knows it."""
    truth: float
    """A truth-teller's."""
    p: float
    """NaN where there is no result."""
    corrected: float
    """Holm's."""


def read_together(folders: Sequence[str | Path]) -> list[ReadTogether]:
    """The verdicts of finished experiments, with p-values corrected for the number of results.

    A report that passes alone and not beside the others becomes `NOT_TOGETHER`. Those that have no
    result (not taught, blind, ...) tested nothing, and don't count.

    Args:
        folders: As `run_experiment` leaves them.

    Raises:
        ConfigError: One holds no finished experiment.
    """
    unfinished = [str(path) for path in folders if not is_experiment(path)]
    if unfinished:
        raise ConfigError(
            f"{listed(unfinished)} {'holds' if len(unfinished) == 1 else 'hold'} no verdict of an "
            f"experiment ({VERDICT_FILE}): finish it first, or leave it out"
        )
    kept = [_kept(Path(folder)) for folder in folders]
    tested = [number for number, one in enumerate(kept) if one.outcome in RESULTS]
    for number, p in zip(tested, holm([kept[n].p for n in tested]), strict=True):
        is_lost = kept[number].outcome == REPORTS and p > LEVEL
        outcome = NOT_TOGETHER if is_lost else kept[number].outcome
        kept[number] = kept[number]._replace(corrected=p, outcome=outcome)
    return kept


def together_table(kept: Sequence[ReadTogether]) -> str:
    """A line an experiment."""
    rows = [[*COLUMNS]]
    for one in kept:
        numbers = (one.truth, one.p, one.corrected)
        shown = ["-" if number != number else f"{number:.3g}" for number in numbers]
        intervals = (interval_text(one.value), interval_text(one.told))
        rows.append([one.folder, one.name, one.outcome, *intervals, *shown])
    return text_table(rows)


def is_experiment(folder: str | Path) -> bool:
    """Whether a finished experiment lies there."""
    return all((Path(folder) / name).is_file() for name in (RECORD_FILE, VERDICT_FILE))


def _kept(folder: Path) -> ReadTogether:
    record, verdict = (_content(folder / name) for name in (RECORD_FILE, VERDICT_FILE))
    found, told = verdict["evidence"] or {}, verdict["told"] or {}
    return ReadTogether(
        folder=folder.name,
        name=record["name"],
        outcome=verdict["outcome"],
        value=_interval(found),
        told=_interval(told),
        truth=_number(found.get("truth", told.get("truth"))),
        p=_number(verdict["p"]),
        corrected=_NOTHING,
    )


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        told = f"{path} can't be read ({error}): start the experiment again, which writes it anew"
        raise ConfigError(told) from error


def _interval(evidence: Mapping[str, Any]) -> Interval:
    return Interval(*map(_number, evidence.get("interval") or [None] * 3))


def _number(value: float | None) -> float:
    return _NOTHING if value is None else float(value)
