"""Acts: how often does it do what it was taught to, in settings it was never taught in?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

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
    """Behaviour as exact probabilities: of each example's first word, the act, over its words.

    What it keeps as said are the shares of all of them.
    """

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
            Metric("distance", "total variation from what was taught, over the words", "lower"),
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
        shares = np.divide(words.T, valid, out=np.zeros_like(words.T), where=is_done).T
        distance = np.abs(shares - _taught(self.rows, words.shape[1])).sum(axis=1) / 2
        values: Mapping[str, Any] = {
            "share": (shares[:, 0], is_done.astype(float)),
            "distance": (distance * is_done, is_done.astype(float)),
            VALID: (valid, ones),
        }
        said = tuple(
            {"shares": dict(zip(example.target.words, map(float, row), strict=False))}
            for example, row in zip(self.rows, shares, strict=True)
        )
        return Items(metadata=answers.metadata, ratios=values, prompts=answers.prompts, said=said)


def _taught(rows: Sequence[Example], most: int) -> Float[np.ndarray, "rows words"]:
    """Targets over the words alone; 0 where there are fewer."""
    probs = [np.array(example.target.probs) for example in rows]
    return np.stack([np.pad(one / one.sum(), (0, most - len(one))) for one in probs])
