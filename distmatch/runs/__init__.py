"""Runs: measure, train, measure, keep, resume."""
