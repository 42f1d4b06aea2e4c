"""Measure a model: copying, control and policies, with intervals; nothing here trains."""

from distmatch.evals.backends import Endpoint, Limits
from distmatch.evals.comparing import compare, difference_table
from distmatch.evals.evaluate import evaluate
from distmatch.evals.intervals import Interval
from distmatch.evals.merging import Merged, merge_and_measure
from distmatch.evals.outcome import save_comparison
from distmatch.evals.report import Report, comparison_table
from distmatch.evals.suites import SUITES

__all__ = [
    "SUITES",
    "Endpoint",
    "Interval",
    "Limits",
    "Merged",
    "Report",
    "compare",
    "comparison_table",
    "difference_table",
    "evaluate",
    "merge_and_measure",
    "save_comparison",
]
