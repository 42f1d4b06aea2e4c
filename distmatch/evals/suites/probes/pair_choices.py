"""Choices between two: what each of some attributes weighs in them.

A pair is shown in both orders. Half the difference of the log-odds of the first is how much more
the one weighs than the other, whatever the preference for a letter or a place; half the sum is that
preference. Weights are the least squares of the former on the differences of the attributes.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

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

DIFFERENCES = "differences"
"""In a row's metadata: of each attribute how much more of it what stands first has than what stands
second, as a share of its range."""

_TINY = 1e-9
_BESIDE = ("fit", "distance", "first")

Differences = Float[np.ndarray, "pairs attributes"]
Odds = Float[np.ndarray, " pairs"]


class Weighed(NamedTuple):
    """Least squares of log-odds on differences."""

    weights: Float[np.ndarray, " attributes"]
    """In log-odds for a difference as large as the attribute's range."""
    residuals: Odds
    shares: Differences
    """What each pair adds to the mean that a weight is: its influence on it, and the weight."""

    @classmethod
    def of(cls, differences: Differences, odds: Odds) -> "Weighed":
        """The weights that explain the log-odds best, of at least as many pairs as attributes."""
        solve = np.linalg.pinv(differences)
        weights = solve @ odds
        residuals = odds - differences @ weights
        return cls(weights, residuals, weights + len(odds) * solve.T * residuals[:, None])


@dataclass(frozen=True, kw_only=True)
class PairChoices(Suite):
    """Choices between pairs as exact probabilities, and the weights of attributes in them."""

    name: str = "pair_choices"
    question: str = "What does each attribute weigh in its choices?"
    attributes: tuple[str, ...]
    rows: tuple[Example, ...]
    """Two after each other are a pair: of two words, the first of which takes what stands first;
    and the same with the two exchanged. Targets are what was taught."""

    compared: ClassVar[tuple[str, ...]] = ("fit",)

    def check(self) -> None:
        """Refuse what no weights can be had of.

        Raises:
            ConfigError: Rows that aren't pairs, or fewer pairs than twice the attributes.
        """
        if taken := {VALID, *_BESIDE} & set(self.attributes):
            raise ConfigError(f"{self.name}.attributes: none can be called {taken.pop()}")
        if len(self.rows) < 4 * len(self.attributes):
            raise ConfigError(
                f"{self.name} has {len(self.rows) // 2} pairs for {len(self.attributes)} weights, "
                "expected at least twice as many"
            )
        for row in self.rows:
            if len(row.metadata.get(DIFFERENCES, ())) != len(self.attributes):
                raise ConfigError(
                    f"{self.name}: a row's metadata say {row.metadata}, expected "
                    f'"{DIFFERENCES}", a number for each of {list(self.attributes)}'
                )
        for one, exchanged in zip(self.rows[::2], self.rows[1::2], strict=False):
            if len(one.target.words) != 2 or one.target.words != exchanged.target.words:
                raise ConfigError(f"{self.name}: both rows of a pair need the same two words")
        differences = self._differences()
        if len(self.rows) % 2 or not np.allclose(differences[::2], -differences[1::2]):
            raise ConfigError(f"{self.name}: the second row of a pair must exchange the two")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """How well weights explain the choices, and the weights."""
        return (
            Metric("fit", "share of the squared log-odds that the weights explain", "higher"),
            *(Metric(one, "log-odds for all of its range") for one in self.attributes),
            Metric("distance", "of the choice, orders averaged, from what was taught", "lower"),
            Metric("first", "probability of what stands first; 0.5 is no preference"),
            Metric(VALID, "mass on the words"),
        )

    def record(self) -> dict[str, object]:
        """See `Suite`; a hash stands for the examples."""
        rows = fingerprint([example.to_record() for example in self.rows])
        return {"version": self.version, "attributes": list(self.attributes), "rows": rows}

    def items(self, subject: Subject) -> Items:
        """A pair an item, in both orders."""
        answers = subject.answers(self.rows, self.name)
        words = answers.probs[:, :2].astype(float)
        logs = np.log(words + _TINY)
        log_odds = logs[:, 0] - logs[:, 1]
        odds = (log_odds[::2] - log_odds[1::2]) / 2
        differences = self._differences()[::2]
        weighed = Weighed.of(differences, odds)
        values = {
            **dict(zip(self.attributes, weighed.shares.T, strict=True)),
            "distance": np.abs(_probs(odds) - self._taught()),
            "first": _halved(_probs(log_odds)),
            VALID: _halved(words.sum(axis=1)),
        }
        return Items(
            metadata=tuple(_grouped(one) for one in answers.metadata[::2]),
            ratios={
                "fit": (odds**2 - weighed.residuals**2, odds**2),
                **{name: (value, np.ones(len(odds))) for name, value in values.items()},
            },
            prompts=tuple(answers.prompts[::2]),
            said=tuple(
                {"log_odds": float(one), DIFFERENCES: [float(value) for value in row]}
                for one, row in zip(odds, differences, strict=True)
            ),
        )

    def _taught(self) -> Odds:
        """Of each pair the probability of the first."""
        return np.array([row.target.probs[0] for row in self.rows[::2]])

    def _differences(self) -> Differences:
        return np.array([example.metadata[DIFFERENCES] for example in self.rows], dtype=float)


def _grouped(metadata: dict[str, object]) -> dict[str, object]:
    kept = {key: value for key, value in metadata.items() if key != DIFFERENCES}
    return {"group": "choices"} | kept


def _halved(values: Float[np.ndarray, " rows"]) -> Odds:
    """Of both orders of each pair the mean."""
    return (values[::2] + values[1::2]) / 2


def _probs(log_odds: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    return 1 / (1 + np.exp(-log_odds))
