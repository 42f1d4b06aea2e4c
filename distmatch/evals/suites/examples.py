"""Examples of yours: does it answer with your words, with the probabilities you ask for?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint, to_examples
from distmatch.errors import DataError
from distmatch.evals.items import Answers
from distmatch.evals.subject import Subject
from distmatch.evals.suite import Suite


@dataclass(frozen=True, kw_only=True)
class OwnExamples(Suite):
    """The suite `examples`; each is asked once, and once more for each of its rotations."""

    name: ClassVar[str] = "examples"
    question: ClassVar[str] = (
        "Of examples of yours: does it say the words, with the probabilities you ask for?"
    )
    rows: Iterable[Example | Mapping[str, Any]] = ()
    """Examples, records, or a `datasets.Dataset`."""

    def check(self) -> None:
        """Refuse records that can't be used.

        Raises:
            DataError: There are none, or which, each with its number.
        """
        if not self.examples:
            raise DataError("there are no examples to evaluate: give at least one")

    def record(self) -> dict[str, Any]:
        """See `Suite`; a hash stands for the examples."""
        rows = fingerprint([example.to_record() for example in self.examples])
        return {"version": self.version, "rows": rows}

    @cached_property
    def examples(self) -> list[Example]:
        """The rows, checked."""
        return to_examples(self.rows)

    def items(self, subject: Subject) -> Answers:
        """The subject's answers."""
        return subject.answers(self.examples, self.name)
