"""Measure a model: copying, control and policies, with intervals; nothing here trains."""

from distmatch.evals.evaluate import evaluate
from distmatch.evals.merging import Merged, merge_and_measure
from distmatch.evals.outcome import save_comparison
from distmatch.evals.report import Interval, Report, comparison_table

__all__ = [
    "Interval",
    "Merged",
    "Report",
    "comparison_table",
    "evaluate",
    "merge_and_measure",
    "save_comparison",
]
