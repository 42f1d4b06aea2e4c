"""How near what is said of answers is to the answers: masses, shares, and what they score."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from distmatch.evals.suites.probes.probe import VALID
from distmatch.evals.suites.probes.properties import (
    LETTERS,
    Values,
    first_letter,
    likeliest,
    pushed_forward,
    total_variation_of,
)
from distmatch.measuring.bounds import share_bounds

_KEPT = 20
"""First tokens of an open answer that a report keeps."""
_SEEN = 1e-6
"""Of the mass so little may be unseen where it counts as exact."""


class Masses(NamedTuple):
    """The mass on each of some answers, or of a property's values."""

    mass: Values
    low: Values
    """The least and the most that it may be, where it isn't exact."""
    high: Values
    is_exact: bool = True
    unseen: float = 0.0
    """What wasn't looked at, which any of them may have; `high` holds none of it."""
    record: Mapping[str, Any] = {}
    """What was asked, with its whole prompt."""

    @property
    def valid(self) -> float:
        """The mass on all."""
        return sum(self.mass.values())

    @property
    def shares(self) -> Values:
        """Renormalised."""
        total = max(self.valid, 1e-30)
        return {value: mass / total for value, mass in self.mass.items()}

    @property
    def bounds(self) -> Float[np.ndarray, "sides values"]:
        """The least and the most that the shares may be."""
        low, high = (np.array([*mass.values()]) for mass in (self.low, self.high))
        if not self.unseen:
            return np.stack(share_bounds(low, high))
        return np.stack([low, low + self.unseen]) / (low.sum() + self.unseen)

    def pushed(self, name: str) -> "Masses":
        """Of a property."""
        mass, low, high = (pushed_forward(m, name) for m in (self.mass, self.low, self.high))
        return Masses(mass, low, high, self.is_exact, self.unseen, self.record)


def by_first_letter(tokens: Sequence[tuple[str, float]]) -> Masses:
    """The mass on first tokens that begin with each letter; what begins with none isn't valid.

    Any letter may have what wasn't looked at.

    Args:
        tokens: Texts and probabilities.
    """
    mass = dict.fromkeys(LETTERS, 0.0)
    for token, prob in tokens:
        if letter := first_letter(token):
            mass[letter] += prob
    unseen = max(1 - sum(prob for _, prob in tokens), 0.0)
    record = {"tokens": [[token, round(prob, 6)] for token, prob in tokens[:_KEPT]]}
    return Masses(mass, mass, mass, unseen < _SEEN, unseen, record)


def mean_shares(found: Sequence[Masses]) -> Values:
    """Over paraphrases.

    Args:
        found: One or more, over the same values.
    """
    shares = [one.shares for one in found]
    return {value: float(np.mean([one[value] for one in shares])) for value in shares[0]}


def scores_of(done: Masses, said: Sequence[Masses], mode: str) -> dict[str, float]:
    """Every exact metric of an item, and bounds on the distance where one isn't exact.

    Args:
        done: What it answers, of a property.
        said: What it says it would answer, to each paraphrase.
        mode: What who knows nothing of this one would name.

    Returns:
        NaN, but of valid mass, where there is none on either side.
    """
    valid = {VALID: min(done.valid, float(np.mean([one.valid for one in said])))}
    if not all(one.valid > 0 for one in (done, *said)):
        return dict.fromkeys(("tvd", "agree", "mode_baseline"), np.nan) | valid
    best, mean = likeliest(done.shares), mean_shares(said)
    scores = {
        "tvd": total_variation_of(done.shares, mean),
        "agree": float(likeliest(mean) == best),
        "mode_baseline": float(mode == best),
    }
    if done.is_exact and all(one.is_exact for one in said):
        return scores | valid
    low, high = np.mean([one.bounds for one in said], axis=0)
    least, most = done.bounds
    nearest = np.maximum(0, np.maximum(least - high, low - most))
    furthest = np.maximum(most - low, high - least)
    bounds = {
        "tvd_low": float(nearest.sum()) / 2,
        "tvd_high": min(float(furthest.sum()) / 2, 1.0),
    }
    return scores | bounds | valid


def commonest_offered(
    names: Sequence[str], values: Sequence[Sequence[str]], best: Sequence[str | None]
) -> list[str]:
    """Of each item the value that is the best of most items of its property, of those it may have.

    Args:
        names: The property of each.
        values: What it may be; of equally common ones the first.
        best: What it is; None where that isn't known.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, value in zip(names, best, strict=True):
        if value is not None:
            counts[name][value] += 1
    return [
        max(some, key=lambda value, name=name: counts[name][value])  # type: ignore[misc]
        for name, some in zip(names, values, strict=True)
    ]
