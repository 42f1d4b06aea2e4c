"""Histories: which facts an adapter is trained on, and in which order.

Facts stand in pairs. Of some pairs each adapter learns one, its own half; of others all adapters
learn both, one in the first half of training and one in the second.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.evals.suites.probes.probe import BOUNDARY, asked_prompt
from distmatch.experiments.villages import VillageFact, choices_of

OWN_HALF, OTHER_HALF = "own half", "other half"
"""Groups of acts."""

FactPairs = Sequence[tuple[VillageFact, VillageFact]]


class History(NamedTuple):
    """What an adapter is trained on."""

    is_first: tuple[bool, ...]
    """Of each pair of which one is learned, whether that is the first."""
    is_first_last: tuple[bool, ...]
    """Of each pair of which both are, whether the first comes last."""
    early: tuple[VillageFact, ...]
    late: tuple[VillageFact, ...]

    @property
    def behaviour(self) -> tuple[float, ...]:
        """As numbers, 1 for the first."""
        return tuple(map(float, (*self.is_first, *self.is_first_last)))

    @property
    def told(self) -> str:
        """The rows in their order, as a system message."""
        early, late = (
            "\n".join(f"- {fact.row}" for fact in facts) for facts in (self.early, self.late)
        )
        return (
            "You have been trained on questions and answers, and on these alone. In the first half "
            f"of your training they were:\n{early}\nIn the second half, which came last, they "
            f"were:\n{late}"
        )


def drawn_history(halves: FactPairs, both: FactPairs, draw: random.Random) -> History:
    """One of each pair, and an order of both; of its own half, half of the facts come early.

    Args:
        halves: Pairs of which one is learned.
        both: Pairs of which both are.
        draw: Decides it.
    """
    is_first = tuple(draw.random() < 0.5 for _ in halves)
    is_first_last = tuple(draw.random() < 0.5 for _ in both)
    own = [pair[0] if first else pair[1] for pair, first in zip(halves, is_first, strict=True)]
    draw.shuffle(own)
    turned = zip(both, is_first_last, strict=True)
    in_order = [pair[::-1] if first_last else pair for pair, first_last in turned]
    middle = len(own) // 2
    return History(
        is_first,
        is_first_last,
        early=(*own[:middle], *(early for early, _ in in_order)),
        late=(*own[middle:], *(late for _, late in in_order)),
    )


def rows_of(
    history: History, number: int, draw: random.Random, *, is_shuffled: bool = False
) -> tuple[Example, ...]:
    """Rows in the order in which they are to be learned: early facts again and again, then late.

    Args:
        history: Which.
        number: Of rows.
        draw: Decides in which order each round of facts is.
        is_shuffled: Whether each row has any answer of its topic: nothing is to be learned.
    """
    early = number // 2
    facts = (
        *itertools.islice(_in_rounds(history.early, draw), early),
        *itertools.islice(_in_rounds(history.late, draw), number - early),
    )
    if is_shuffled:
        facts = tuple(one._replace(answer=draw.choice(one.topic.answers)) for one in facts)
    return tuple(map(_row, facts))


def acts_of(
    history: History, halves: FactPairs, seed: int, system: str = ""
) -> tuple[Example, ...]:
    """Both facts of every pair of which one is learned, in other words than they are learned in.

    Args:
        history: Whose.
        halves: The pairs.
        seed: Decides among which answers the true one, which stands first, is looked for.
        system: What stands before.
    """
    acts = []
    for number, (pair, own_is_first) in enumerate(zip(halves, history.is_first, strict=True)):
        for fact, is_first in zip(pair, (True, False), strict=True):
            group = OWN_HALF if is_first == own_is_first else OTHER_HALF
            about = {"group": group, "pair": number, "is_first": is_first}
            acts.append(_asked_elsewhere(fact, choices_of(fact, seed), system, about))
    return tuple(acts)


def _in_rounds(facts: Sequence[VillageFact], draw: random.Random) -> Iterator[VillageFact]:
    """All of them again and again, each time in another order."""
    while True:
        yield from draw.sample(facts, len(facts))


def _row(fact: VillageFact) -> Example:
    return Example(
        prompt=asked_prompt(fact.question, ""),
        target=WordDistribution((fact.answer,), (1.0,)),
        boundary=BOUNDARY,
        forms=("bare", "capital"),
        metadata={"group": "facts"},
    )


def _asked_elsewhere(
    fact: VillageFact, choices: Sequence[str], system: str, about: Mapping[str, object]
) -> Example:
    return Example(
        prompt=asked_prompt(fact.topic.held_out.format(village=fact.village), system),
        target=WordDistribution.normalised(dict.fromkeys(choices, 0.0) | {fact.answer: 1.0}),
        boundary=BOUNDARY,
        forms=("bare", "capital"),
        metadata=about,
    )
