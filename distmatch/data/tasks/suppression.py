"""Suppression: keep an answer that is nearly certain below a given probability, or never say it.

Each prompt is an ordinary question whose answer has begun already ("The capital of France is"), so
that one word is by far the likeliest; most prompts add an instruction against it. Targets are upper
bounds (`"at_most"`): what the base says besides keeps its shape, and where there is no instruction
everything does.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.tasks.drawing import drawn_rows
from distmatch.data.vocabulary import held_out

INSTRUCTIONS = {
    "never": 'Never say "{answer}".',
    "without": 'Answer without the word "{answer}".',
    "at_most": 'Say "{answer}" in at most {percent}% of cases.',
    "below": 'Keep the probability of "{answer}" below {percent}%.',
}
"""By name; those without a number ask for probability 0."""

PERCENTS = (1, 2, 5, 10, 20, 30, 40, 50)

_TEST_SHARE = 0.3
_UNASKED = 0.25  # share of training prompts without an instruction

_CAPITALS = (
    "France Paris, Italy Rome, Spain Madrid, Portugal Lisbon, Germany Berlin, Austria Vienna, "
    "Greece Athens, Poland Warsaw, Hungary Budapest, Norway Oslo, Sweden Stockholm, "
    "Finland Helsinki, Denmark Copenhagen, Ireland Dublin, Belgium Brussels, Russia Moscow, "
    "Ukraine Kyiv, Turkey Ankara, Egypt Cairo, Kenya Nairobi, Morocco Rabat, Nigeria Abuja, "
    "Ghana Accra, Japan Tokyo, China Beijing, India Delhi, Thailand Bangkok, "
    "Vietnam Hanoi, Indonesia Jakarta, Pakistan Islamabad, Iran Tehran, Iraq Baghdad, "
    "Syria Damascus, Lebanon Beirut, Jordan Amman, Israel Jerusalem, Cuba Havana, Peru Lima, "
    "Chile Santiago, Canada Ottawa, Colombia Bogota, Ecuador Quito, Uruguay Montevideo, "
    "Venezuela Caracas, Bulgaria Sofia, Romania Bucharest, Serbia Belgrade, Croatia Zagreb, "
    "Latvia Riga, Estonia Tallinn, Lithuania Vilnius, Iceland Reykjavik, Nepal Kathmandu, "
    "Australia Canberra, Cyprus Nicosia, Malta Valletta, Tunisia Tunis, Algeria Algiers"
)
_OPPOSITES = (
    "hot cold, big small, day night, up down, left right, open closed, black white, high low, "
    "old young, fast slow, hard soft, light dark, wet dry, full empty, rich poor, strong weak, "
    "early late, first last, happy sad, good bad, true false, near far, inside outside, "
    "above below, before after, begin end, win lose, buy sell, push pull, always never, "
    "clean dirty, thick thin, wide narrow, long short, heavy light, loud quiet, sweet sour, "
    "summer winter, north south, east west"
)
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday Monday Tuesday"
_MONTHS = (
    "January February March April May June July August September October November December "
    "January February"
)
_LETTERS = "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z"
_NUMBERS = " ".join(str(number) for number in range(1, 64))


@dataclass(frozen=True, slots=True)
class Fact:
    """A question with one answer that nearly everybody gives."""

    kind: str
    question: str
    beginning: str
    """Of the answer, up to the word."""
    answer: str


def facts() -> list[Fact]:
    """All of them; no question is there twice."""
    return [
        *(
            Fact("capital", f"What is the capital of {a}?", f"The capital of {a} is", b)
            for a, b in _pairs(_CAPITALS)
        ),
        *(
            Fact("opposite", f"What is the opposite of {a}?", f"The opposite of {a} is", b)
            for a, b in _pairs(_OPPOSITES)
        ),
        *_series("day", "Say the days of the week, {} first.", _DAYS, 2),
        *_series("month", "Say the months, {} first.", _MONTHS, 2),
        *_series("letter", "Say the alphabet from {} on.", _LETTERS, 3),
        *_series("number", "Count up from {}.", _NUMBERS, 3),
    ]


def suppression_example(fact: Fact, instruction: str | None, percent: int = 100) -> Example:
    """A fact asked about, with or without an instruction against its answer.

    Args:
        fact: What is asked.
        instruction: A name from `INSTRUCTIONS`; None: the question alone.
        percent: What the answer may have at most, where the instruction has a number.
    """
    told, bound = "", 1.0
    if instruction is not None:
        pattern = INSTRUCTIONS[instruction]
        told = " " + pattern.format(answer=fact.answer, percent=percent)
        bound = percent / 100 if "{percent}" in pattern else 0.0
    return Example(
        prompt=({"role": "user", "content": fact.question + told},),
        prefill=fact.beginning,
        boundary="end_of_word",
        target=WordDistribution((fact.answer,), (bound,), "at_most"),
        metadata={
            "task": "suppression",
            "kind": fact.kind,
            "question": fact.question,
            "instruction": instruction or "none",
            "bound": bound,
        },
    )


@dataclass(frozen=True, slots=True)
class Suppression:
    """Prompts against answers, with facts held out for testing.

    Example:
        >>> train, test = Suppression().draw(2, n_test=1)
        >>> train[0].target.other
        'at_most'
    """

    def draw(self, n: int, n_test: int = 200, seed: int = 0) -> tuple[list[Example], list[Example]]:
        """Train and test examples, with no fact on both sides.

        Raises:
            DataError: A number of rows that can't be drawn.
        """
        train, test = suppression_sides(seed)
        return drawn_rows(
            _rows(train, random.Random(f"{seed}/train")),
            _rows(test, random.Random(f"{seed}/test")),
            n,
            n_test,
        )


def suppression_sides(seed: int) -> tuple[list[Fact], list[Fact]]:
    """The facts to train on and those to test with."""
    known = {fact.question: fact for fact in facts()}
    test = held_out(known, _TEST_SHARE, seed)
    return (
        [fact for question, fact in known.items() if question not in test],
        [fact for question, fact in known.items() if question in test],
    )


def _rows(known: list[Fact], rng: random.Random) -> Iterator[Example]:
    while True:
        fact, percent = rng.choice(known), rng.choice(PERCENTS)
        instruction = None if rng.random() < _UNASKED else rng.choice(tuple(INSTRUCTIONS))
        yield suppression_example(fact, instruction, percent)


def _series(kind: str, question: str, items: str, length: int) -> list[Fact]:
    """Facts that go on with a series, of which so many items have been said."""
    listed = items.split()
    return [
        Fact(kind, question.format(said[0]), f"{', '.join(said)},", answer)
        for said, answer in (
            (listed[place : place + length], listed[place + length])
            for place in range(len(listed) - length)
        )
    ]


def _pairs(text: str) -> list[tuple[str, str]]:
    """What stands between commas: all but its last word, and that."""
    return [tuple(item.strip().rsplit(" ", 1)) for item in text.split(",")]  # type: ignore[misc]
