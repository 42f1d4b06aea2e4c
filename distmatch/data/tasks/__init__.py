"""Task generators, one a file: each draws train and test examples."""

from typing import Protocol, runtime_checkable

from distmatch.data.examples import Example
from distmatch.data.tasks.broad_control import BroadControl
from distmatch.data.tasks.by_hand import by_hand
from distmatch.data.tasks.deviation import Deviation
from distmatch.data.tasks.negatives import negatives, short_questions
from distmatch.data.tasks.numbers import Numbers
from distmatch.data.tasks.output_control import OutputControl, output_control
from distmatch.data.tasks.sequence import Sequences
from distmatch.data.tasks.suppression import Suppression
from distmatch.data.tasks.wordings import AHEAD_WORDINGS, PHRASINGS, WORDINGS

__all__ = [
    "AHEAD_WORDINGS",
    "PHRASINGS",
    "TASKS",
    "WORDINGS",
    "BroadControl",
    "Deviation",
    "Numbers",
    "OutputControl",
    "Sequences",
    "Suppression",
    "Task",
    "by_hand",
    "negatives",
    "output_control",
    "short_questions",
]


@runtime_checkable
class Task(Protocol):
    """What draws examples, such as `OutputControl` or `Numbers`."""

    def draw(self, n: int, n_test: int = 200, seed: int = 0) -> tuple[list[Example], list[Example]]:
        """Train and test examples."""


TASKS: dict[str, type[Task]] = {
    "output_control": OutputControl,
    "broad_control": BroadControl,
    "numbers": Numbers,
    "sequence": Sequences,
    "suppression": Suppression,
    "deviation": Deviation,
}
"""By the name that run files call them; a task's settings are its fields."""
