"""What reports say of an adapter, as its model card has it."""

import math
from collections.abc import Iterator, Mapping, Sequence

from huggingface_hub import EvalResult

from distmatch.data.examples import Example
from distmatch.data.jsonl import value_key
from distmatch.errors import DataError
from distmatch.evals import Report
from distmatch.evals.page import BRACKETS, ELSEWHERE
from distmatch.evals.report import comparison_rows
from distmatch.measuring.intervals import CONFIDENCE
from distmatch.trainer import CardMeasures, markdown_table

_POLICY = (
    "`policy_tvd` is what `control_tvd` has to beat: the best policy that ignores the numbers."
)
_DIGITS = 4


def card_measures(
    after: Mapping[str, Report], before: Mapping[str, Report] | None = None
) -> CardMeasures:
    """What an adapter's card says of how it was measured; a trainer's `measures`.

    Args:
        after: The adapter's reports, by suite; of examples of yours as "examples".
        before: Reports of the same suites before it was trained.
    """
    before = before or {}
    shown = {
        name: {**({"before": before[name]} if name in before else {}), "after": report}
        for name, report in after.items()
    }
    elsewhere = {name: reports for name, reports in shown.items() if name in ELSEWHERE}
    asked = {name: reports for name, reports in shown.items() if name not in ELSEWHERE}
    known = {
        "metrics": _tables(asked),
        "calibration": next(filter(None, (_calibration(n, after[n]) for n in asked)), ""),
        "elsewhere": _tables(elsewhere),
    }
    results = tuple(result for name, report in after.items() for result in _results(name, report))
    return CardMeasures(results=results, **{name: text for name, text in known.items() if text})


def overlap_told(trained: Sequence[Example], tested: Sequence[Example]) -> str:
    """How much of what was tested was trained on, in a sentence; nothing where either is empty.

    Args:
        trained: Examples.
        tested: The same.
    """
    if not trained or not tested:
        return ""
    prompts = {value_key(example.prompt) for example in trained}
    words = {word for example in trained for word in example.target.words}
    num_prompts = sum(value_key(example.prompt) in prompts for example in tested)
    num_words = sum(not words.isdisjoint(example.target.words) for example in tested)
    return (
        f"Measured on {len(tested):,} examples; {num_prompts} of them have a prompt that was "
        f"trained on, {num_words} a word that was."
    )


def _tables(shown: Mapping[str, Mapping[str, Report]]) -> str:
    """A table a suite; nothing where there is none."""
    told = []
    for name, reports in shown.items():
        of = f"`{name}`, {reports['after'].num_examples:,} items:"
        told += [of, markdown_table(comparison_rows(reports))]
    if told:
        has_policy = any("policy_tvd" in some["after"].metrics for some in shown.values())
        told.append(f"{BRACKETS} {_POLICY}" if has_policy else BRACKETS)
    return "\n\n".join(told)


def _calibration(name: str, report: Report) -> str:
    """Asked against given in bins, where a report is of words and there are enough."""
    try:
        bins = report.calibration().bins
    except DataError:
        return ""
    rows = [["asked, mean", "given, mean"]]
    rows += [
        [f"{asked:.2f}", f"{mean:.2f} [{low:.2f}, {high:.2f}]"] for asked, mean, low, high in bins
    ]
    told = f"Of `{name}`, renormalised over the words, in tenths of what was asked:"
    return f"{told}\n\n{markdown_table(rows)}" if len(bins) else ""


def _results(name: str, report: Report) -> Iterator[EvalResult]:
    """The metrics that tables of groups have too, where they are finite."""
    details = {reading.name for reading in report.readings if reading.is_detail}
    for metric, interval in report.metrics.items():
        if metric not in details and all(map(math.isfinite, interval)):
            mean, low, high = (round(value, _DIGITS) for value in interval)
            yield EvalResult(
                task_type="text-generation",
                dataset_type=name,
                dataset_name=f"{name}, {report.num_examples} items",
                metric_type=metric,
                metric_value=mean,
                metric_args={"low": low, "high": high, "confidence": CONFIDENCE},
            )
