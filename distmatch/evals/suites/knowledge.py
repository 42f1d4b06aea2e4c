"""Knowledge: does it still know what it knew, of which nothing is ever trained?

Plain questions of our own, `knowledge.jsonl` beside the word lists, each with one right answer and
three wrong ones of the same kind. They are for asking, never for training. The model isn't shown
the answers, so neither letters nor an order can be preferred: each is scored as a whole.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, ClassVar

from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suite import Suite
from distmatch.evals.suites.choice_questions import ChoiceQuestion
from distmatch.evals.suites.choices import Choices, scored_questions


@dataclass(frozen=True, kw_only=True)
class Knowledge(Suite):
    """The suite `knowledge`."""

    name: ClassVar[str] = "knowledge"
    question: ClassVar[str] = "Does it answer plain questions of general knowledge as before?"
    metrics: ClassVar[tuple[Metric, ...]] = Choices.metrics
    compared: ClassVar[tuple[str, ...]] = ("correct", "correct_share")
    per_group: int = 40
    """Questions of each of the fourteen topics, at most 40."""

    def check(self) -> None:
        """Refuse more questions than there are.

        Raises:
            ConfigError: How many there are.
        """
        most = min(map(len, _topics().values()))
        if self.per_group > most:
            raise ConfigError(
                f"{self.name}.per_group is {self.per_group}, expected at most {most}: there are "
                "no more questions of a topic"
            )

    @property
    def questions(self) -> list[ChoiceQuestion]:
        """What is asked: the first of each topic."""
        return [_asked(row) for rows in _topics().values() for row in rows[: self.per_group]]

    def items(self, subject: Subject) -> Items:
        """The scores of every question."""
        return scored_questions(subject, self.questions, self.name)


def _asked(row: Mapping[str, Any]) -> ChoiceQuestion:
    return ChoiceQuestion(
        messages=(
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": "Answer:"},
        ),
        choices=(row["right"], *row["wrong"]),
        answer=row["right"],
        task=row["topic"],
    )


@functools.cache
def _topics() -> dict[str, list[dict[str, Any]]]:
    """The questions of each topic, with the right answer and the wrong ones."""
    text = resources.files("distmatch.data").joinpath("knowledge.jsonl").read_text(encoding="utf-8")
    topics: dict[str, list[dict[str, Any]]] = {}
    for row in map(json.loads, text.splitlines()):
        topics.setdefault(row["topic"], []).append(row)
    return topics
