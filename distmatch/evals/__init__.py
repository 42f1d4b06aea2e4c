"""Measure a model: copying, control and policies, with intervals; nothing here trains."""

from distmatch.evals.backends.client import Limits
from distmatch.evals.backends.endpoint import Endpoint
from distmatch.evals.comparing import compare, difference_table
from distmatch.evals.evaluate import evaluate
from distmatch.evals.local import LocalModel
from distmatch.evals.local_source import LocalSource
from distmatch.evals.merging import Merged, merge_and_measure
from distmatch.evals.metric import Metric
from distmatch.evals.report import Report, comparison_table
from distmatch.evals.store import measure_all
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suite import Suite, measure
from distmatch.evals.suites import SUITES
from distmatch.measuring.intervals import Interval

__all__ = [
    "SUITES",
    "Capability",
    "Endpoint",
    "Interval",
    "Limits",
    "LocalModel",
    "LocalSource",
    "Merged",
    "Metric",
    "Report",
    "Subject",
    "Suite",
    "compare",
    "comparison_table",
    "difference_table",
    "evaluate",
    "measure",
    "measure_all",
    "merge_and_measure",
]
