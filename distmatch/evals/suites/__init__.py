"""The questions asked of a model before and after training, by name: a file each."""

from collections.abc import Callable
from typing import NamedTuple

from distmatch.evals.items import Items
from distmatch.evals.subject import Subject
from distmatch.evals.suites import deviation, given, not_given, numbers, ordinary, sad, suppression


def _needs_nothing() -> dict[str, str]:
    return {}


class Suite(NamedTuple):
    """A question, asked on prompts of its own."""

    measure: Callable[[Subject], Items]
    """Asks a model. The metadata of every item has its `group`."""
    check: Callable[[], dict[str, str]] = _needs_nothing
    """Refuses what is missing, before a model is loaded; what the scores depend on besides it."""


SUITES: dict[str, Suite] = {
    "given": Suite(given.measure),
    "not_given": Suite(not_given.measure, not_given.check),
    "suppression": Suite(suppression.measure),
    "numbers": Suite(numbers.measure),
    "deviation": Suite(deviation.measure),
    "ordinary": Suite(ordinary.measure),
    "sad": Suite(sad.measure, sad.check),
}
"""By name."""
