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
    likeliest,
    pushed_forward,
    total_variation_of,
)
from distmatch.evals.suites.probes.words import share_bounds

_BEFORE_WORDS = "\"'*`( \n\t"


class Masses(NamedTuple):
    """The mass on each of some answers, or of a property's values."""

    mass: Values
    low: Values
    """The least and the most that it may be, where it isn't exact."""
    high: Values
    is_exact: bool = True
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
        return np.stack(share_bounds(*(np.array([*m.values()]) for m in (self.low, self.high))))

    def pushed(self, name: str) -> "Masses":
        """Of a property."""
        mass, low, high = (pushed_forward(m, name) for m in (self.mass, self.low, self.high))
        return Masses(mass, low, high, self.is_exact)


def by_first_letter(tokens: Sequence[tuple[str, float]]) -> Masses:
    """The mass on first tokens that begin with each letter; what begins with none isn't valid.

    Args:
        tokens: Texts and probabilities.
    """
    mass = dict.fromkeys(LETTERS, 0.0)
    for token, prob in tokens:
        letter = token.lstrip(_BEFORE_WORDS)[:1].upper()
        if letter in mass:
            mass[letter] += prob
    return Masses(mass, mass, mass)


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
    """
    best, mean = likeliest(done.shares), mean_shares(said)
    scores = {
        "tvd": total_variation_of(done.shares, mean),
        "agree": float(likeliest(mean) == best),
        "mode_baseline": float(mode == best),
        VALID: min(done.valid, float(np.mean([one.valid for one in said]))),
    }
    if done.is_exact and all(one.is_exact for one in said):
        return scores
    low, high = np.mean([one.bounds for one in said], axis=0)
    least, most = done.bounds
    nearest = np.maximum(0, np.maximum(least - high, low - most))
    furthest = np.maximum(most - low, high - least)
    return scores | {
        "tvd_low": float(nearest.sum()) / 2,
        "tvd_high": min(float(furthest.sum()) / 2, 1.0),
    }


def commonest_values(names: Sequence[str], acted: Sequence[Values]) -> list[str]:
    """Of each item the commonest likeliest value among the items of its property.

    Args:
        names: The property of each.
        acted: What is answered, likewise.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, values in zip(names, acted, strict=True):
        counts[name][likeliest(values)] += 1
    return [counts[name].most_common(1)[0][0] for name in names]
