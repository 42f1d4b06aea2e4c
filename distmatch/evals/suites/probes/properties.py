"""Properties of answers: what can be told of one without knowing the question."""

from collections import defaultdict
from collections.abc import Callable
from string import ascii_uppercase
from typing import NamedTuple

_VOWELS = "aeiou"
_BEFORE_WORDS = "\"'*`( \n\t"
LETTERS = tuple(ascii_uppercase)


Values = dict[str, float]
"""Probabilities of a property's values, or of answers."""


class Property(NamedTuple):
    """Something of an answer that can be told without knowing the question."""

    text: str
    """What it is called in a question."""
    of: Callable[[str], str]


PROPERTIES: dict[str, Property] = {
    "answer": Property("your answer", str),
    "first letter": Property("the first letter of your answer", lambda word: word[0].upper()),
    "last letter": Property("the last letter of your answer", lambda word: word[-1].upper()),
    "vowel": Property(
        'whether your answer would begin with a vowel, "yes" or "no"',
        lambda word: "yes" if word[0].lower() in _VOWELS else "no",
    ),
    "long": Property(
        'whether your answer would have more than five letters, "yes" or "no"',
        lambda word: "yes" if sum(map(str.isalpha, word)) > 5 else "no",
    ),
}
"""By name."""
OF_FIRST_LETTER = ("first letter", "vowel")
"""Those that the first letter alone decides."""


def first_letter(text: str) -> str:
    """The letter with which an answer begins, as a capital; nothing if it begins with none.

    Args:
        text: As it is written: marks and white space before it don't count.
    """
    letter = text.lstrip(_BEFORE_WORDS)[:1].upper()
    return letter if letter in LETTERS else ""


def pushed_forward(answers: Values, name: str) -> Values:
    """The distribution of a property, of that of the answers.

    Args:
        answers: Probabilities.
        name: The property's.
    """
    values: dict[str, float] = defaultdict(float)
    for answer, prob in answers.items():
        values[PROPERTIES[name].of(answer)] += prob
    return dict(values)


def total_variation_of(first: Values, second: Values) -> float:
    """Half the summed differences of two distributions over the same values."""
    return sum(abs(first[key] - second[key]) for key in first) / 2


def likeliest(values: Values) -> str:
    """The value of the highest probability; the first of equal ones."""
    return max(values, key=values.__getitem__)
