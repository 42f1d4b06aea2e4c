"""The questions asked of a model before and after training, by name: a file each."""

from collections.abc import Callable

from distmatch.evals.items import Items
from distmatch.evals.subject import Subject
from distmatch.evals.suites import given, not_given, numbers, ordinary, sad, suppression

Suite = Callable[[Subject], Items]
"""Asks a model. The metadata of every item has its `group`."""

SUITES: dict[str, Suite] = {
    "given": given.measure,
    "not_given": not_given.measure,
    "suppression": suppression.measure,
    "numbers": numbers.measure,
    "ordinary": ordinary.measure,
    "sad": sad.measure,
}
"""By name."""
