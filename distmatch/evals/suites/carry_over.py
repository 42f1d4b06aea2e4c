"""Carried over: does control hold in ways of asking that `BroadControl` never trains on?

Words are held out throughout. Requests are of the branches of `BroadControl`'s grammar that are
trained on, of those that never are, of `OutputControl`'s wordings, and by somebody who had seen
neither.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from distmatch.data.examples import Example
from distmatch.data.tasks.broad_control import BRANCHES, BroadControl
from distmatch.data.tasks.by_hand import by_hand
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.vocabulary import word_pool
from distmatch.evals.items import Answers
from distmatch.evals.subject import Subject
from distmatch.evals.suite import Suite

_HELD_OUT = tuple(f"{axis}: {value}" for axis, value in BRANCHES["held_out"])


@dataclass(frozen=True, kw_only=True)
class CarryOver(Suite):
    """The suite `carry_over`."""

    name: ClassVar[str] = "carry_over"
    question: ClassVar[str] = "Does control hold in ways of asking that were never trained on?"
    version: ClassVar[int] = 2
    per_group: int = 40
    """Examples of the branches trained on, of each branch held out, and of the wordings."""
    per_request: int = 1
    """Examples of each of the forty requests by hand."""
    pool: str = "common"
    """The class of the words, as in `distmatch.data.word_pool`."""

    def check(self) -> None:
        """Refuse a class of words that there isn't.

        Raises:
            DataError: Which there are.
        """
        word_pool(self.pool)

    def items(self, subject: Subject) -> Answers:
        """The subject's answers to `examples`."""
        return subject.answers(self.examples(subject.seed), self.name)

    def examples(self, seed: int = 0) -> list[Example]:
        """What is asked.

        Args:
            seed: Decides all that is drawn; no word of it is one of training data of that seed.
        """
        pool = word_pool(self.pool)
        wordings = OutputControl(words=(2, 3), pool=pool)
        groups = {
            "branches trained on": self._drawn("trained", seed),
            **{branch: self._drawn(branch, seed) for branch in _HELD_OUT},
            "wordings": wordings.draw(1, self.per_group, seed, self.name)[1],
            "by hand": by_hand(self.per_request, seed, pool),
        }
        return [
            replace(example, metadata={**example.metadata, "group": name})
            for name, rows in groups.items()
            for example in rows
        ]

    def _drawn(self, branches: str, seed: int) -> list[Example]:
        task = BroadControl(test_branches=branches, pool=word_pool(self.pool))
        return task.draw(1, self.per_group, seed, self.name)[1]
