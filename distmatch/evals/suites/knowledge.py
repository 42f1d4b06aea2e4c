"""Knowledge: does it still know what it knew, of which nothing is ever trained?

Plain questions of our own, `knowledge.jsonl` beside the word lists, each with four options of which
one is right. What training does to them nobody asked for. They are for asking, never for training.
"""

import functools
import json
import random
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

LETTERS = ("A", "B", "C", "D")


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

    def items(self, subject: Subject) -> Items:
        """The scores of every question."""
        return scored_questions(subject, self.questions(subject.seed), self.name)

    def questions(self, seed: int = 0) -> list[ChoiceQuestion]:
        """What is asked; the right option is as often under one letter as under any other.

        Args:
            seed: Decides the order of the options.
        """
        rng = random.Random(f"{seed}/{self.name}")
        rows = [row for some in _topics().values() for row in some[: self.per_group]]
        rounds = (rng.sample(range(len(LETTERS)), len(LETTERS)) for _ in rows)
        places = [place for one in rounds for place in one]
        return [_asked(row, place, rng) for row, place in zip(rows, places, strict=False)]


def _asked(row: Mapping[str, Any], place: int, rng: random.Random) -> ChoiceQuestion:
    options = rng.sample(row["wrong"], len(row["wrong"]))
    options.insert(place, row["right"])
    listed = "\n".join(f"{a}. {b}" for a, b in zip(LETTERS, options, strict=True))
    asked = f"{row['question']}\n\n{listed}\n\nAnswer with the letter alone."
    return ChoiceQuestion(
        messages=(
            {"role": "user", "content": asked},
            {"role": "assistant", "content": "Answer:"},
        ),
        choices=LETTERS,
        answer=LETTERS[place],
        task=row["topic"],
    )


@functools.cache
def _topics() -> dict[str, list[dict[str, Any]]]:
    """The questions of each topic: the right option and the wrong ones."""
    text = resources.files("distmatch.data").joinpath("knowledge.jsonl").read_text(encoding="utf-8")
    topics: dict[str, list[dict[str, Any]]] = {}
    for row in map(json.loads, text.splitlines()):
        topics.setdefault(row["topic"], []).append(row)
    return topics
