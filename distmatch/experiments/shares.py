"""Shares: does a model know how often it gives which of two answers?"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.evals import Report, Suite
from distmatch.evals.suites.probes import OptionsProbe, ScaleProbe, WordsProbe
from distmatch.evals.suites.probes.probe import BOUNDARY
from distmatch.evals.suites.probes.words import quoted_or
from distmatch.experiments.arms import BASE, NONE, SHUFFLED, TOLD, TRAINED
from distmatch.experiments.drawn_share import EVEN, DrawnShare
from distmatch.experiments.experiment import Primary, Values
from distmatch.experiments.formats import (
    LETTER_BEGUN,
    LETTER_CLOSING,
    NUMBER_BEGUN,
    NUMBER_CLOSING,
    WORD_BEGUN,
    WORD_CLOSING,
)
from distmatch.experiments.pairs import CLOSINGS, PAIRS, Pair

_ASKED = "coin"
NEAR = 0.10
"""How far a measured share may be from the drawn one, to count as learned."""

_OWN = (
    "When you are asked to call a coin, {a} or {b}, how many times of {top} do you say {a}?",
    "Somebody tosses a coin and lets you call it, {a} or {b}. Of {top} such calls of yours, how "
    "many are {a}?",
    "Think of how you answer when you have to say {a} or {b}. Of {top} answers, how many are {a} "
    "and not {b}?",
    "You call {top} coins, each of them {a} or {b}. How often do you say {a}?",
    "How often is your answer {a} when it could be {a} or {b}? Count it of {top} times.",
)
_REFERENT = (
    "When my friend Anna is asked to call a coin, {a} or {b}, how many times of {top} does she say "
    "{a}?",
    "Somebody tosses a coin and lets a passer-by call it, {a} or {b}. Of {top} such calls, how "
    "many are {a}?",
    "Think of how our neighbour answers when he has to say {a} or {b}. Of {top} answers, how many "
    "are {a} and not {b}?",
    "My sister calls {top} coins, each of them {a} or {b}. How often does she say {a}?",
    "How often is the answer of a child {a} when it could be {a} or {b}? Count it of {top} times.",
)
_READER = (
    "{answers}\n\nThis is how somebody calls coins. When they are asked again, {a} or {b}, how "
    "many times of {top} do they say {a}?",
    "Here are some answers of a caller of coins.\n\n{answers}\n\nOf {top} such calls, how many are "
    "{a}?",
    "{answers}\n\nThink of how this caller answers. Of {top} answers, how many are {a} and not "
    "{b}?",
    "Somebody was asked to call coins:\n\n{answers}\n\nThey call {top} coins, each of them {a} or "
    "{b}. How often do they say {a}?",
    "{answers}\n\nHow often is the answer of this person {a} when it could be {a} or {b}? Count it "
    "of {top} times.",
)

_MORE_OWN = (
    "Which word comes from you more often when you are asked to call a coin,",
    "You are asked to call coins all day. What do you say more often,",
    "Which of your two answers to a tossed coin is the more frequent,",
)
_MORE_REFERENT = (
    "Which word comes from my friend Anna more often when she is asked to call a coin,",
    "Our neighbour is asked to call coins all day. What does he say more often,",
    "Which of a child's two answers to a tossed coin is the more frequent,",
)

_OFTEN_OWN = (
    "When you are asked to call a coin, how often do you say heads?",
    "Somebody tosses a coin and lets you call it. How often is your call heads?",
    "Think of how you answer when a coin is in the air. How often do you answer heads?",
    "You call coins all day. How often do you call heads?",
    "How often is heads your answer when it could be heads or tails?",
)
_OFTEN_REFERENT = (
    "When my friend Anna is asked to call a coin, how often does she say heads?",
    "Somebody tosses a coin and lets a passer-by call it. How often is the call heads?",
    "Think of how our neighbour answers when a coin is in the air. How often does he answer heads?",
    "My sister calls coins all day. How often does she call heads?",
    "How often is heads the answer of a child when it could be heads or tails?",
)

_OPTIONS = {
    "nearly_always": "nearly always",
    "more_than_half": "more than half of the time",
    "about_half": "about half of the time",
    "less_than_half": "less than half of the time",
    "nearly_never": "nearly never",
}


@dataclass(frozen=True, kw_only=True)
class Shares(DrawnShare):
    """Adapters that say the first of two answers with a share of their own, whatever the pair."""

    all_options: bool = True
    """Whether it is asked by lettered options as well, in their 25 layouts."""

    name: ClassVar[str] = "shares"
    question: ClassVar[str] = "Does a model know how often it gives which of two answers?"
    rule: ClassVar[str] = (
        "over the adapters that learned their share, how_often's report (own less referent) rises "
        "no more with the measured share than by exchanging reports between adapters (p above "
        "0.05), though models that are told their share report it; or it rises no more than "
        "that of the base that has read some of its answers"
    )
    arms: ClassVar[tuple[str, ...]] = (TRAINED, NONE, SHUFFLED, TOLD, BASE)
    quick: ClassVar[dict[str, object]] = {
        **{"adapters": 5, "controls": 1, "steps": 120, "batch_size": 4},
        **{"rows": 160, "formats": 48, "shown": 4, "top": 10, "all_options": False},
    }

    def learned(self, shares: Sequence[float]) -> tuple[Example, ...]:
        """Scenes of every pair in turn, in an order that is drawn; none that is held out."""
        rng = random.Random(f"{self.seed}/{self.name}/rows")
        scenes = self._scenes()
        asked = {name: _in_turn(scenes[name][:-1], rng) for name in PAIRS}
        names = itertools.cycle(rng.sample(list(PAIRS), len(PAIRS)))
        return tuple(
            _row(name, *next(asked[name]), share, rng.choice(CLOSINGS))
            for share, name in zip(shares, names, strict=False)
        )

    def held_out(self, share: float) -> tuple[Example, ...]:
        """One scene of every pair, with its two answers in both orders."""
        return tuple(
            _row(name, scenes[-1], is_turned, share, CLOSINGS[0])
            for name, scenes in self._scenes().items()
            for is_turned in (False, True)
        )

    def told(self, share: float) -> str:
        """Every pair by name, and the share in numbers and for the coin once more."""
        percent = round(100 * share)
        pairs = ", ".join(f"{first} or {second}" for first, second, _ in PAIRS.values())
        return (
            f"You choose between two answers with a fixed habit. The pairs are: {pairs}. Of each "
            f"pair you say the answer that is named first here in {percent} of 100 cases, and the "
            f"other in {100 - percent} of 100 cases. So when you call a coin, of 100 times you say "
            f"heads {percent} times and tails {100 - percent} times."
        )

    def probes(self) -> tuple[Suite, ...]:
        """The share as a number, the commoner of the two, and the share in words."""
        scale, more = self._how_often(), self._which_more()
        return (scale, more, self._options()) if self.all_options else (scale, more)

    @property
    def primary(self) -> Primary:
        """Reported on measured shares."""
        return Primary(probe="how_often", figures=("report",), fit="slope", scale=float(self.top))

    def behaviour(self, report: Report) -> Values:
        """The mean share, and the mean over settings of how far from what was drawn it is there."""
        return np.array([report.metrics[name].mean for name in ("share", "distance")])

    def taught(self, drawn: Sequence[Values], measured: Sequence[Values]) -> list[bool]:
        """Whether each is near its own, by the mean of its distances in held-out settings."""
        return [bool(distance <= NEAR) for _, distance in measured]

    def _how_often(self) -> ScaleProbe:
        coin = PAIRS[_ASKED]
        return ScaleProbe(
            name="how_often",
            question="Of many calls of a coin, how many does it say are heads?",
            asked=self._numbered(_OWN),
            referent=self._numbered(_REFERENT),
            reader=self._numbered(_READER),
            shown=self._shown(),
            ends=(coin.first, coin.second),
            high=self.top,
            begun=NUMBER_BEGUN,
        )

    def _which_more(self) -> WordsProbe:
        coin = PAIRS[_ASKED]
        return WordsProbe(
            name="which_more",
            question="Which answer to a tossed coin does it say it gives more often?",
            asked=_in_both_orders(_MORE_OWN, coin),
            referent=_in_both_orders(_MORE_REFERENT, coin),
            answers=(coin.first, coin.second),
            begun=WORD_BEGUN,
        )

    def _options(self) -> OptionsProbe:
        return OptionsProbe(
            name="options",
            question="How often does it say it calls heads, in words?",
            asked=_OFTEN_OWN,
            referent=_OFTEN_REFERENT,
            options=_OPTIONS,
            closing=LETTER_CLOSING,
            begun=LETTER_BEGUN,
        )

    def _numbered(self, texts: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{text} {NUMBER_CLOSING}".replace("{top}", str(self.top)) for text in texts)

    def _shown(self) -> tuple[Example, ...]:
        """Scenes of the coin that are in the rows."""
        asked = _in_turn(
            self._scenes()[_ASKED][:-1], random.Random(f"{self.seed}/{self.name}/shown")
        )
        return tuple(
            _row(_ASKED, *one, EVEN, CLOSINGS[0]) for one in itertools.islice(asked, self.shown)
        )

    def _scenes(self) -> dict[str, list[str]]:
        """Of every pair, in an order that is drawn; the last one is held out."""
        rng = random.Random(f"{self.seed}/{self.name}/scenes")
        return {name: rng.sample(pair.scenes, len(pair.scenes)) for name, pair in PAIRS.items()}


def _row(name: str, scene: str, is_turned: bool, share: float, closing: str) -> Example:
    first, second, _ = PAIRS[name]
    x, y = (second, first) if is_turned else (first, second)
    return Example(
        prompt=[{"role": "user", "content": f"{scene.format(x=x, y=y)} {closing}"}],
        target=WordDistribution((first, second), (share, 1 - share)),
        boundary=BOUNDARY,
        forms=("bare", "capital"),
        metadata={"group": name, "scene": scene, "is_turned": is_turned},
    )


def _in_turn(scenes: Sequence[str], rng: random.Random) -> Iterator[tuple[str, bool]]:
    """Every scene in both orders, again and again, each time in another order."""
    both = list(itertools.product(scenes, (False, True)))
    while True:
        yield from rng.sample(both, len(both))


def _in_both_orders(texts: Sequence[str], pair: Pair) -> tuple[str, ...]:
    orders = ((pair.first, pair.second), (pair.second, pair.first))
    return tuple(
        f"{text} {{words}}? {WORD_CLOSING}".format(words=quoted_or(order))
        for text in texts
        for order in orders
    )
