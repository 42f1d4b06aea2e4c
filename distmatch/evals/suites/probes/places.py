"""Places at which a text goes on: does the model know how it would itself?

The truth is the model's exact distribution over some ways of going on, at the place itself. What it
says is another, over the same ways, when it is asked. Figures are normalised for chance: 0 is what
guessing comes to, 1 is always right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suites.probes.items_probe import TEXT, ItemsProbe
from distmatch.evals.suites.probes.options import OptionsProbe
from distmatch.evals.suites.probes.probe import BOUNDARY, VALID, Probe, asked_prompt, ratios_of
from distmatch.evals.suites.probes.properties import Values, likeliest, total_variation_of
from distmatch.evals.suites.probes.words import WordsProbe, either_case, quoted_or

_WORDS = "{words}"


class Juncture(NamedTuple):
    """Where a text goes on in one of several ways."""

    text: str
    ways: tuple[str, ...]
    """A word or more each, of which none begins another."""
    called: tuple[str, ...] = ()
    """What each is called in the question; empty: by itself."""


@dataclass(frozen=True, kw_only=True)
class PlacesProbe(ItemsProbe):
    """How it says it goes on, held against how it does."""

    places: tuple[Juncture, ...]
    question: str = "Does it know how it would go on?"
    is_chat: bool = False
    """Whether places are what a user says, and ways are answers; else they are plain text."""
    is_lettered: bool = True
    """Whether ways are options with letters; else the question holds `{words}`, and is answered by
    one of them."""
    closing: str = "Answer with the letter alone."
    """What stands behind options."""

    def each(self) -> Sequence[Probe]:
        """What is asked of each place.

        Raises:
            ConfigError: There are no places, a paraphrase lacks what it should hold; and see
                `OptionsProbe` and `WordsProbe`.
        """
        if not self.places:
            raise ConfigError(f"{self.name} has no places: give at least one")
        for text in (*self.asked, *self.referent):
            for part in (TEXT,) if self.is_lettered else (TEXT, _WORDS):
                if part not in text:
                    raise ConfigError(f"{self.name}: {text!r} has no {part}")
        return [
            self._lettered(one) if self.is_lettered else self._worded(one) for one in self.places
        ]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """How near what it says is to what it does."""
        return (
            Metric("known", "probability said of its likeliest way; 0 is chance, 1 all", "higher"),
            Metric("named", "share whose likeliest way it says; 0 is chance, 1 all", "higher"),
            Metric("tvd", "of what it says, from what it does", "lower"),
            Metric(VALID, "mass on valid answers; no report below one half"),
        )

    def items(self, subject: Subject) -> Items:
        """A place an item."""
        done = self.done(subject)
        told = self.told(subject)
        said = [
            {way: figures[way] for way in self.places[number].ways}
            for _, number, figures, _ in told
        ]
        return Items(
            metadata=tuple({"group": who, "place": number} for who, number, *_ in told),
            ratios=ratios_of(
                [
                    scores_above_chance(done[number], one) | {VALID: figures[VALID]}
                    for (_, number, figures, _), one in zip(told, said, strict=True)
                ]
            ),
            prompts=tuple(self.places[number].text for _, number, *_ in told),
            clusters=tuple(f"place {number}" for _, number, *_ in told),
            said=tuple(
                {"done": done[number], "said": one, "asked": asked}
                for (_, number, _, asked), one in zip(told, said, strict=True)
            ),
        )

    def done(self, subject: Subject) -> list[Values]:
        """At every place the exact shares of its ways, whatever the case of their first letter.

        It goes on at once, also where it thinks before it says how.

        Args:
            subject: Whoever is asked.
        """
        probs = subject.answers(map(self._example, self.places), self.name).probs.astype(float)
        found = []
        for place, row in zip(self.places, probs, strict=True):
            masses = iter(row.tolist())
            mass = [sum(next(masses) for _ in either_case(way)) for way in place.ways]
            total = max(sum(mass), 1e-300)  # long ways are very unlikely, all of them
            found.append({way: one / total for way, one in zip(place.ways, mass, strict=True)})
        return found

    def _example(self, place: Juncture) -> Example:
        words = [word for way in place.ways for word in either_case(way)]
        return Example(
            prompt=asked_prompt(place.text, self.system) if self.is_chat else place.text,
            target=WordDistribution.normalised(dict.fromkeys(words, 1.0)),
            boundary=BOUNDARY,
        )

    def _lettered(self, place: Juncture) -> OptionsProbe:
        return OptionsProbe(
            **self._about(place.text),
            options=dict(zip(place.ways, place.called or place.ways, strict=True)),
            closing=self.closing,
        )

    def _worded(self, place: Juncture) -> WordsProbe:
        """Every paraphrase with the words in the order given, and the other way round."""
        about = self._about(place.text)
        orders = [quoted_or(place.ways), quoted_or(place.ways[::-1])]
        for who in ("asked", "referent"):
            about[who] = tuple(text.replace(_WORDS, some) for text in about[who] for some in orders)
        return WordsProbe(**about, answers=place.ways)


def scores_above_chance(done: Values, said: Values) -> Values:
    """How right what is said is, normalised for chance: (right - chance) / (1 - chance).

    Args:
        done: Values of two ways or more.
        said: Of the same.

    Returns:
        `known`, of the probability said of the likeliest way; `named`, of whether it is the
        likeliest said; and `tvd`, which isn't normalised.
    """
    best, chance = likeliest(done), 1 / len(done)
    return {
        "known": (said[best] - chance) / (1 - chance),
        "named": (float(likeliest(said) == best) - chance) / (1 - chance),
        "tvd": total_variation_of(done, said),
    }
