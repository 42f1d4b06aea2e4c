"""Acts: how often does it do what it was taught to, in settings it was never taught in?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suite import Suite
from distmatch.evals.suites.probes.probe import VALID


@dataclass(frozen=True, kw_only=True)
class Acts(Suite):
    """Behaviour as exact probabilities: of each example's first word, the act, over its words."""

    name: str = "acts"
    question: str = "How often does it act as it was taught to?"
    rows: tuple[Example, ...]
    """Whose words are the act and what else could be done; their targets are what was taught."""

    compared: ClassVar[tuple[str, ...]] = ("share",)

    def check(self) -> None:
        """Refuse to ask for nothing.

        Raises:
            ConfigError: There are no examples, or some of one word.
        """
        if not self.rows or any(len(example.target.words) < 2 for example in self.rows):
            raise ConfigError(
                f"{self.name} needs examples of two words or more: the act, and what else could "
                "be done"
            )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The share of acts, and how far it is from what was taught."""
        return (
            Metric("share", "probability of the act over the words"),
            Metric("distance", "of that from what was taught, example by example", "lower"),
            Metric(VALID, "mass on the words"),
        )

    def record(self) -> dict[str, Any]:
        """See `Suite`; a hash stands for the examples."""
        rows = fingerprint([example.to_record() for example in self.rows])
        return {"version": self.version, "rows": rows}

    def items(self, subject: Subject) -> Items:
        """What it does in every setting."""
        answers = subject.answers(self.rows, self.name)
        words = answers.probs[:, :-1].astype(float)
        valid, ones = words.sum(axis=1), np.ones(len(words))
        is_done = valid > 0
        share = np.divide(words[:, 0], valid, out=np.zeros_like(valid), where=is_done)
        distance = np.abs(share - np.array([_taught(example) for example in self.rows]))
        values: Mapping[str, Any] = {
            "share": (share, is_done.astype(float)),
            "distance": (distance * is_done, is_done.astype(float)),
            VALID: (valid, ones),
        }
        return Items(metadata=answers.metadata, ratios=values, prompts=answers.prompts)


def _taught(example: Example) -> float:
    probs = example.target.probs
    return probs[0] / sum(probs)
