"""The experiments there are, by name."""

from distmatch.experiments.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {}
"""Ready ones; `dataclasses.replace` gives one other settings."""
