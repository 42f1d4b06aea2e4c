"""Runs: measure, train, measure, keep, resume."""

from distmatch.runs.outcome import RunOutcome
from distmatch.runs.performing import perform
from distmatch.runs.run import Run

__all__ = ["Run", "RunOutcome", "perform"]
