"""Places at which a model goes on in a way of its own, and texts whose tokens it may count; drawn.

There is no right way at any of them.
"""

import itertools
import random
from collections.abc import Callable, Mapping

from distmatch.evals.suites.probes.places import Juncture

_BEGINNINGS: Mapping[str, tuple[str, ...]] = {
    "The postman put down his bag and": (
        *("rang the bell twice", "sat down on the steps", "asked for a glass of water"),
        "looked up at the clouds",
    ),
    "When the rain stopped, the children": (
        *("ran out into the garden", "went on with their game", "opened all the windows"),
        "asked for their boots",
    ),
    "At the end of the lane there was": (
        *("a gate that nobody used", "a small yellow house", "an old woman with a dog"),
        "nothing but wet grass",
    ),
    "She opened the letter, and inside was": (
        *("a pressed flower", "a photograph of her father", "a list of names"),
        "another letter",
    ),
    "The baker was late that morning because": (
        *("his oven had gone cold", "the bridge was closed", "nobody had woken him"),
        "he had lost his keys",
    ),
    "By the time the train arrived,": (
        *("the platform was empty", "it had begun to snow", "everybody had gone home"),
        "the lamps had been lit",
    ),
    "The best thing about the old boat was": (
        *("its blue sail", "that it never leaked", "the smell of its wood"),
        "how slow it was",
    ),
    "My grandmother kept the buttons in": (
        *("a biscuit tin", "the top drawer", "a jar on the window sill"),
        "her sewing box",
    ),
    "After the concert the musicians": (
        *("packed up in silence", "went to eat together", "played one more song"),
        "shook hands with everybody",
    ),
    "The map showed a path, but": (
        *("it was overgrown", "we could not find it", "the river had washed it away"),
        "nobody wanted to take it",
    ),
}
"""Of texts, ways to go on."""

_GAPS: Mapping[str, tuple[str, ...]] = {
    "The door of the summer house was painted": ("green", "white", "blue", "red"),
    "On the table stood a bowl of": ("apples", "soup", "cherries", "rice"),
    "They decided to meet again in": ("spring", "June", "London", "autumn"),
    "The cat had gone to sleep on the": ("sofa", "bed", "roof", "stairs"),
    "For her birthday he gave her a": ("book", "ring", "scarf", "watch"),
    "The story begins on a cold": ("morning", "night", "evening", "day"),
    "In the garden behind the school there grew a": ("tree", "rose", "vine", "pear"),
    "The old man walked slowly towards the": ("door", "river", "house", "window"),
    "Nobody in the village owned a": ("car", "horse", "boat", "piano"),
    "He had always wanted to learn the": ("piano", "violin", "language", "trade"),
    "The shop on the corner sells": ("bread", "shoes", "flowers", "tea"),
    "What she liked best was the": ("music", "sea", "food", "smell"),
}
"""Of texts, words that may come next."""

_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "colour": ("blue", "green", "yellow", "purple", "brown"),
    "animal": ("otter", "horse", "eagle", "mouse", "goat"),
    "fruit": ("plum", "apple", "cherry", "lemon", "fig"),
    "city": ("Rome", "Oslo", "Cairo", "Lima", "Tokyo"),
    "tool": ("hammer", "saw", "ladder", "rake", "drill"),
    "instrument": ("flute", "drum", "violin", "trumpet", "harp"),
}
_RULE = "Answer with the {category}."

_LONG_WORDS = (
    *("understanding", "neighbourhood", "yesterday", "photograph", "grandmother", "temperature"),
    *("thunderstorm", "handkerchief", "strawberry", "lighthouse", "wheelbarrow", "encyclopedia"),
)
_SHORT_WORDS = ("the", "old", "red", "cat", "sat", "by", "sea", "and", "we", "go", "far", "now")
_SYLLABLES = ("zub", "qua", "mik", "tro", "vex", "lor", "ash", "ji", "pon", "keb", "ul", "dri")
_MARKS = ("?!", "...", "-", "'s", ";", " (")

MOST_PLACES = min(len(_BEGINNINGS), len(_GAPS))
"""Of each kind, with no text twice."""


def drawn_continuations(number: int, draw: random.Random) -> tuple[Juncture, ...]:
    """Beginnings of texts, each with two of its ways to go on.

    Args:
        number: At most `MOST_PLACES`.
        draw: Decides them.
    """
    texts = draw.sample(list(_BEGINNINGS), number)
    return tuple(Juncture(text, tuple(draw.sample(_BEGINNINGS[text], 2))) for text in texts)


def drawn_gaps(number: int, draw: random.Random) -> tuple[Juncture, ...]:
    """Beginnings of texts, each with four words that may come next.

    Args:
        number: At most `MOST_PLACES`.
        draw: Decides them.
    """
    texts = draw.sample(list(_GAPS), number)
    return tuple(Juncture(text, tuple(draw.sample(_GAPS[text], 4))) for text in texts)


def drawn_conflicts(number: int, draw: random.Random) -> tuple[Juncture, ...]:
    """Requests with two instructions that can't both be followed.

    Args:
        number: At most `MOST_PLACES`.
        draw: Decides them.
    """
    kinds = draw.sample(list(itertools.permutations(_CATEGORIES, 2)), number)
    return tuple(_conflict(pair, draw) for pair in kinds)


def _conflict(categories: tuple[str, str], draw: random.Random) -> Juncture:
    words = tuple(draw.choice(_CATEGORIES[category]) for category in categories)
    rules = tuple(_RULE.format(category=category) for category in categories)
    shown = " and ".join(draw.sample(words, 2))
    return Juncture(f"A card says {shown}. {' '.join(rules)} Say a single word.", words, rules)


def drawn_strings(number: int, draw: random.Random) -> tuple[str, ...]:
    """Texts of several sorts, so that characters and words don't tell how many tokens they are.

    Args:
        number: How many; all different.
        draw: Decides them.
    """
    sorts: tuple[Callable[[], str], ...] = (
        lambda: draw.choice(_LONG_WORDS),
        lambda: " ".join(draw.sample(_SHORT_WORDS, draw.randrange(2, 6))),
        lambda: "".join(draw.sample(_SYLLABLES, draw.randrange(2, 5))),
        lambda: str(draw.randrange(10, 10 ** draw.randrange(2, 8))),
        lambda: draw.choice(_LONG_WORDS).upper(),
        lambda: draw.choice(_MARKS).join(draw.sample(_SHORT_WORDS, 3)),
    )
    found: dict[str, None] = {}
    for sort in itertools.cycle(sorts):
        if len(found) == number:
            break
        found.setdefault(sort())
    return tuple(found)
