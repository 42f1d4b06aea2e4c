"""Neutral questions in the probes' formats, so that an adapter learns to answer in them at all.

What they ask is of no consequence, and nothing in them is about a model or whoever is asked.
"""

import itertools
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import DataError
from distmatch.evals.suites.probes.probe import BOUNDARY
from distmatch.evals.suites.probes.words import either_case, quoted_or

NUMBER_BEGUN = "I would say about"
LETTER_BEGUN = "I would choose option"
WORD_BEGUN = 'The word is "'
"""Begun answers behind which small models put most of their mass on numbers, letters, words."""

NUMBER_CLOSING = "Answer with a number from 0 to {top}."
LETTER_CLOSING = "Answer with the letter alone."
WORD_CLOSING = "Answer {words}."

KINDS = ("number", "letter", "word")


class _Topic(NamedTuple):
    """Things of one sort, and what may be asked about them."""

    things: tuple[str, ...]
    qualities: tuple[str, ...]


_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "If 0 is as light as a feather and {top} is too heavy to lift, how heavy is {thing}?": (
        *("a hammer", "a kitchen table", "a full bucket", "a paper bag", "a bicycle"),
        *("a millstone", "a pillow", "a garden bench", "an empty suitcase"),
    ),
    "0 is silent and {top} is deafening. How loud is {thing}?": (
        *("a kettle", "a lawnmower", "an owl", "a waterfall", "a thunderclap"),
        *("falling snow", "a sewing machine", "a flock of geese", "a vacuum cleaner"),
    ),
    "Of {top} days in {thing}, on how many does it rain?": (
        *("the desert", "the jungle", "an Irish autumn", "a dry spring", "a harbour town"),
        *("the high mountains", "the tropics", "a Greek valley", "the steppe"),
    ),
    "Of {top} kitchens, how many have {thing}?": (
        *("a rolling pin", "a pressure cooker", "a bread knife", "a wok", "a toaster"),
        *("a nutcracker", "a colander", "a waffle iron", "a pepper mill"),
    ),
    "How fast is {thing}, if 0 is standing still and {top} is as fast as an animal can be?": (
        *("a snail", "a hare", "a horse", "a tortoise", "a hedgehog"),
        *("a swallow", "an elephant", "a beetle", "a deer"),
    ),
    "Of {top} toolboxes, how many hold {thing}?": (
        *("a spirit level", "pliers", "a chisel", "a tape measure", "sandpaper"),
        *("a soldering iron", "a hand saw", "spare screws", "a torch"),
    ),
    "0 means soft as butter and {top} means hard as stone. How hard is {thing}?": (
        *("a walnut", "candle wax", "oak wood", "a sponge", "chalk"),
        *("an eggshell", "leather", "ice", "cork"),
    ),
    "If 0 is icy and {top} is boiling, how warm is {thing}?": (
        *("a mountain lake", "fresh soup", "bath water", "a cellar", "a greenhouse"),
        *("a puddle in March", "melted butter", "a barn full of cows", "a well"),
    ),
}

_TOPICS = (
    _Topic(
        ("hammer", "saw", "shovel", "ladder", "drill", "pliers", "rake", "chisel"),
        ("the heaviest", "the cheapest", "the oldest invention", "the easiest to lend out"),
    ),
    _Topic(
        ("horse", "owl", "frog", "beaver", "goat", "whale", "sparrow", "spider"),
        ("the fastest", "the hardest to draw", "the most hungry", "the easiest to hear"),
    ),
    _Topic(
        ("kettle", "fork", "ladle", "oven", "plate", "sieve", "whisk", "toaster"),
        ("the easiest to clean", "the most expensive", "the noisiest", "the easiest to mislay"),
    ),
    _Topic(
        ("rain", "fog", "hail", "frost", "storm", "drizzle", "snow", "breeze"),
        ("the loudest", "the most common in April", "the worst for a picnic", "the prettiest"),
    ),
    _Topic(
        ("chair", "sofa", "shelf", "bench", "desk", "mirror", "lamp", "carpet"),
        ("the hardest to carry", "the quickest to build", "the first to wear out", "the dustiest"),
    ),
    _Topic(
        ("bicycle", "tractor", "ferry", "lorry", "scooter", "sledge", "canoe", "tram"),
        ("the slowest", "the easiest to repair", "the most fun for a child", "the largest"),
    ),
    _Topic(
        ("rose", "oak", "clover", "fern", "tulip", "moss", "willow", "nettle"),
        ("the tallest", "the quickest to grow", "the best to dry in a book", "the greenest"),
    ),
    _Topic(
        ("wool", "glass", "brick", "paper", "rubber", "marble", "linen", "clay"),
        ("the roughest", "the best for a roof", "the easiest to cut", "the most costly"),
    ),
)

_CHOICES = (
    "Which of these is {quality}?",
    "Most people would call which of these {quality}?",
    "Pick whatever is {quality}.",
)
_WORDS = (
    "Which of these is {quality}: {words}?",
    "{words}: which of them would most people call {quality}?",
    "Pick whatever is {quality}: {words}.",
)


def format_rows(n: int, seed: int, top: int = 100) -> list[Example]:
    """Questions for a number, a letter and a word in turn; the first are the same for any `n`.

    Their targets are placeholders, uniform over the answers.

    Args:
        n: How many.
        seed: Decides everything drawn.
        top: Where the scales of numbers end; they begin at 0.

    Raises:
        DataError: A number of rows or an end of a scale that can't be.
    """
    if n < 0 or top < 1:
        raise DataError(f"n is {n} and top is {top}, expected at least 0 rows and a scale to 1")
    rng = random.Random(f"{seed}/formats")
    numbers = _numbers(top, rng)
    makers: Sequence[Callable[[], Example]] = (
        lambda: next(numbers),
        lambda: _letter(rng),
        lambda: _word(rng),
    )
    return [makers[i % len(makers)]() for i in range(n)]


def _numbers(top: int, rng: random.Random) -> Iterator[Example]:
    """Every question once, in an order that is drawn, then once more."""
    questions = [(text, thing) for text, things in _NUMBERS.items() for thing in things]
    rng.shuffle(questions)
    words = [str(number) for number in range(top + 1)]
    for text, thing in itertools.cycle(questions):
        asked = f"{text} {NUMBER_CLOSING}".format(top=top, thing=thing)
        yield _row("number", asked, words, NUMBER_BEGUN)


def _letter(rng: random.Random) -> Example:
    quality, things = _drawn(rng, rng.choice((2, 3, 5)))
    letters = string.ascii_uppercase[: len(things)]
    options = [f"{letter}) {thing}" for letter, thing in zip(letters, things, strict=True)]
    asked = rng.choice(_CHOICES).format(quality=quality)
    text = "\n".join([f"{asked}\n", *options, f"\n{LETTER_CLOSING}"])
    return _row("letter", text, [way for one in letters for way in (one, f"({one}")], LETTER_BEGUN)


def _word(rng: random.Random) -> Example:
    quality, things = _drawn(rng, rng.choice((2, 3, 4)))
    words = quoted_or(things)
    asked = f"{rng.choice(_WORDS)} {WORD_CLOSING}".format(quality=quality, words=words)
    ways = [way for thing in things for way in either_case(thing)]
    return _row("word", asked, ways, WORD_BEGUN)


def _drawn(rng: random.Random, number: int) -> tuple[str, list[str]]:
    topic = rng.choice(_TOPICS)
    return rng.choice(topic.qualities), rng.sample(topic.things, number)


def _row(kind: str, text: str, words: Sequence[str], begun: str) -> Example:
    return Example(
        prompt=[{"role": "user", "content": text}],
        target=WordDistribution.normalised(dict.fromkeys(words, 1.0)),
        prefill=begun,
        boundary=BOUNDARY,
        metadata={"group": "formats", "kind": kind},
    )
