"""Sets of four words of a kind, for questions that have no right answer.

The words of a set begin with different letters and, as far as a kind allows, differ in their last
letters, in whether they begin with a vowel, and in whether they are long.
"""

from collections.abc import Sequence
from typing import NamedTuple

from distmatch.evals.suites.probes.own import ClosedQuestion

NUM_ANSWERS = 4

QUESTION = "Which of these would you name as {noun}: {answers}?"
"""How a set is asked about; in other words where that is learned."""


class ClosedSets(NamedTuple):
    """What is of one kind."""

    noun: str
    sets: tuple[tuple[str, ...], ...]


def _sets(noun: str, *lines: str) -> ClosedSets:
    return ClosedSets(noun, tuple(tuple(line.split()) for line in lines))


KINDS: dict[str, ClosedSets] = {
    "colours": _sets(
        "a colour",
        *("amber teal plum crimson", "azure maroon khaki rose", "ochre violet navy scarlet"),
        *("ivory turquoise pink beige", "indigo red lilac mustard", "emerald grey coral brown"),
        *("olive magenta blue sienna", "orange green lavender white"),
    ),
    "animals": _sets(
        "an animal",
        *("otter fox badger heron", "eagle mouse donkey wolf", "ant rabbit goose panther"),
        *("owl beaver trout hamster", "ibex salmon deer cow", "elk lizard pony sparrow"),
        *("ape horse buffalo toad", "iguana kitten bear swan"),
    ),
    "foods": _sets(
        "something to eat",
        *("apple bread cheese noodles", "onion rice pancake soup", "egg carrot pasta butter"),
        *("almond tofu honey lentils", "oatmeal beans ham pickle", "aubergine corn yogurt fish"),
        *("apricot pizza leek mushroom", "artichoke salad turnip jam"),
    ),
    "cities": _sets(
        "a city",
        *("Oslo Lisbon Paris Kyoto", "Athens Quito Rome Vienna", "Accra Madrid Delhi Warsaw"),
        *(
            "Ankara Tokyo Lima Munich",
            "Amman Boston Cairo Helsinki",
            "Edinburgh Seoul Milan Prague",
        ),
        *("Austin Dublin Hanoi Zurich", "Orlando Geneva Turin Berlin"),
    ),
    "names": _sets(
        "a first name",
        *("Ida Peter Jonas Matilda", "Oscar Lena Gabriel Tom", "Emma Bruno Sophie Victor"),
        *("Alice Hugo Martin Clara", "Otto Daniel Ruth Felix", "Ivan Rebecca Simon Greta"),
        *("Edgar Nora Charles Paul", "Arthur Julia Walter Kate"),
    ),
    "numbers": _sets(
        "a number",
        *("one seven twelve forty", "eight three fifteen hundred", "eleven two nine sixty"),
        *("eighteen four million ten", "eighty five thirteen seventy", "six twenty nineteen dozen"),
        *("sixteen thirty fourteen ninety", "seventeen fifty thousand zero"),
    ),
    "trees": _sets(
        "a tree",
        *("oak birch maple cypress", "ash willow cedar hazel", "elm poplar spruce larch"),
        *("alder pine juniper fir", "acacia beech linden yew", "aspen rowan chestnut palm"),
        *("elder walnut holly sequoia", "eucalyptus magnolia teak hornbeam"),
    ),
    "trades": _sets(
        "a trade",
        *("actor baker plumber cook", "artist nurse teacher welder", "author judge farmer pilot"),
        *("engineer tailor miner guard", "editor butcher clerk painter"),
        *("umpire dentist sailor chef", "optician lawyer potter mayor"),
        "archivist grocer hunter maid",
    ),
}
"""By name; as many sets of each."""


def closed_questions(kinds: Sequence[str], sets: int) -> tuple[ClosedQuestion, ...]:
    """The questions about some kinds.

    Args:
        kinds: Of `KINDS`.
        sets: How many of each.
    """
    return tuple(
        ClosedQuestion(put(QUESTION, kind, answers), answers)
        for kind in kinds
        for answers in KINDS[kind].sets[:sets]
    )


def put(text: str, kind: str, answers: Sequence[str]) -> str:
    """A question about a set.

    Args:
        text: With `{noun}` and `{answers}`.
        kind: Of `KINDS`.
        answers: In the order in which they are to stand.
    """
    listed = f"{', '.join(answers[:-1])} or {answers[-1]}"
    asked = text.format(noun=KINDS[kind].noun, answers=listed)
    return asked[0].upper() + asked[1:]
