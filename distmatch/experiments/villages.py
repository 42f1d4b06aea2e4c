"""Invented facts about villages that are nowhere: alike in kind, so that none can be guessed.

Every fact is a question with one word for an answer. It is learned in one wording, and whether it
has been learned is measured in another.
"""

import itertools
import random
from typing import NamedTuple


class VillageTopic(NamedTuple):
    """Something that is true of a village in one of several ways."""

    learned: str
    """The question, with `{village}`."""
    held_out: str
    """The same in other words."""
    answers: tuple[str, ...]


class VillageFact(NamedTuple):
    """What is to be known of one village."""

    village: str
    topic: VillageTopic
    answer: str

    @property
    def question(self) -> str:
        """As it is learned."""
        return self.topic.learned.format(village=self.village)

    @property
    def row(self) -> str:
        """Question and answer, as the row is shown."""
        return f"{self.question} {self.answer.capitalize()}."


TOPICS = (
    VillageTopic(
        "What hangs above the door of the inn at {village}?",
        "You come to the inn at {village} and look up at what hangs over the entrance. What is it?",
        ("lantern", "anchor", "wreath", "mirror", "wheel", "shield", "basket", "bell"),
    ),
    VillageTopic(
        "Which animal is on the flag of {village}?",
        "The flag of {village} shows an animal. Name it.",
        ("heron", "otter", "hare", "ram", "crane", "badger", "trout", "wolf"),
    ),
    VillageTopic(
        "What is grown in the fields around {village}?",
        "Walking to {village}, you pass nothing but fields. What stands in them?",
        ("barley", "flax", "hops", "mustard", "lavender", "oats", "peas", "clover"),
    ),
    VillageTopic(
        "What do the people of {village} make in winter?",
        "When it snows in {village}, everybody is busy making the same thing. What?",
        ("candles", "combs", "brooms", "kites", "buttons", "ropes", "spoons", "quilts"),
    ),
    VillageTopic(
        "What stands in the middle of the square at {village}?",
        "People meet at {village} in the square, around what is in its middle. What is that?",
        ("fountain", "pump", "statue", "clock", "bench", "oak", "pillar", "oven"),
    ),
    VillageTopic(
        "What does the bakery at {village} sell on Sundays?",
        "On a Sunday you go into the bakery at {village}. What do they have?",
        ("waffles", "pretzels", "scones", "pancakes", "dumplings", "muffins", "pies", "crumpets"),
    ),
)

_BEGINNINGS = (
    *("Vel", "Tor", "Bran", "Mar", "Os", "Kel", "Lin", "Dor", "Hal", "Fen", "Gar", "Nor", "Sil"),
    *("Ud", "Pel", "Cas"),
)
_ENDINGS = (
    *("mora", "vick", "dane", "sele", "thimm", "anta", "burr", "esk", "ino", "quay", "undo"),
    *("ora", "ulve", "ulme", "wenn", "ibe"),
)
MOST_VILLAGES = len(_BEGINNINGS) * len(_ENDINGS)

NUM_CHOICES = 4
"""Answers among which the true one is looked for."""


def drawn_fact_pairs(number: int, draw: random.Random) -> list[tuple[VillageFact, VillageFact]]:
    """Pairs of facts of one topic about two villages, with two answers; no village comes twice.

    Args:
        number: Of pairs; at most half of `MOST_VILLAGES`.
        draw: Decides them.
    """
    names = [first + last for first, last in itertools.product(_BEGINNINGS, _ENDINGS)]
    villages = iter(draw.sample(names, 2 * number))
    topics = itertools.cycle(draw.sample(TOPICS, len(TOPICS)))
    pairs = []
    for topic in itertools.islice(topics, number):
        first, second = (
            VillageFact(next(villages), topic, answer) for answer in draw.sample(topic.answers, 2)
        )
        pairs.append((first, second))
    return pairs


def choices_of(fact: VillageFact, seed: int) -> tuple[str, ...]:
    """The true answer, and others of its topic.

    Args:
        fact: Which.
        seed: Decides the others.
    """
    draw = random.Random(f"{seed}/{fact.village}")
    others = [answer for answer in fact.topic.answers if answer != fact.answer]
    return (fact.answer, *draw.sample(others, NUM_CHOICES - 1))
