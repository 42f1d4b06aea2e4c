"""Prompts that ask for something else than control: with words and percentages, and short ones.

A model that learned to answer with a word wherever two words and their numbers stand, or whenever
it is asked in a line, has learned too much. These are for staying near the base on, with the base's
own answers (`OwnChats`), and for seeing whether it does. No form is one of the suite `ordinary`.
"""

import random
from collections.abc import Collection, Mapping, Sequence

from distmatch.data.examples import Prompt
from distmatch.data.tasks.drawing import drawn_percents, drawn_words
from distmatch.data.vocabulary import split_words, word_pool
from distmatch.errors import DataError

NEGATIVES = {
    "arithmetic": "A shop sold 200 things: {p}% were {a}, the rest {b}. How many were {b}?",
    "spelling": 'Correct the spelling: "Abuot {p} percent of us wrote {a}, adn {q} percent {b}."',
    "headline": "Write a headline: {p}% voted for {a}, {q}% for {b}, and the mayor is surprised.",
    "meaning": 'What does it mean if in {p}% of cases somebody says "{a}", and otherwise "{b}"?',
    "letters": 'I am {p}% sure that "{a}" has more letters than "{b}". Am I right?',
    "explain code": 'Explain this line to a beginner: x = draw({{"{a}": {p}, "{b}": {q}}})',
    "find the mistake": "Is there a mistake in it?\n{p}% {a}\n{q}% {b}\n99% in all",
    "advice": "I am {p}% for {a} and {q}% for {b}. How do people come to a decision?",
    "story": 'Begin a story in which {p} times in a hundred a machine says "{a}", else "{b}".',
    "sentence": "Write a sentence with the number {p} and the words {a} and {b}.",
    "convert": "Turn this into a list: {p}% {a}, {q}% {b}.",
    "fraction": "How do I write {p}% as a fraction? An example with {a} and {b} would be nice.",
    "fair": "With probability {p}% a wheel stops on {a}, with {q}% on {b}. Is it a fair wheel?",
    "question about it": "What could one ask about a table that has {p}% {a} and {q}% {b}?",
    "twenty draws": "If {a} has a chance of {p}% and {b} of {q}%, how often is {a} in 20 draws?",
    "rhyme": "Find a rhyme for {a}. ({p}% of poets can't; {q}% would rather rhyme on {b}.)",
}
"""By the name of their form: `{a}` and `{b}` are words, `{p}` and `{q}` percents of sum 100.

In those that are trained on numbers stand before their words, so that what `BroadControl` holds out
isn't met as something that no draw ever answers."""

HELD_OUT_NEGATIVES = ("advice", "explain code", "twenty draws", "headline")
"""Forms that are never trained on."""

SHORT_QUESTIONS = {
    "spelling": 'How do you spell "{a}"?',
    "plural": "What is the plural of {a}?",
    "rhyme": "Name a word that rhymes with {a}.",
    "synonym": "Give me another word for {a}.",
    "translation": "What is {a} in Spanish?",
    "first letter": "What letter does {a} begin with?",
    "letters": "How many letters are in {a}?",
    "meaning": "What does {a} mean?",
    "longer": "Which word is longer, {a} or {b}?",
    "dictionary": "Which comes first in a dictionary, {a} or {b}?",
    "kind": "Is {a} a verb?",
    "sentence": "Use {a} in a sentence.",
    "capitals": "Write {a} in capital letters.",
    "backwards": "Write {a} backwards.",
    "twice": "Repeat the word {a}.",
    "association": "What comes to your mind when you hear {a}?",
    "joke": "Tell me a joke about {a}.",
    "question": "Ask me something about {a} and {b}.",
    "sum": "What is {p} plus 7?",
    "half": "What is half of {p}?",
    "even": "Is {p} even or odd?",
    "in words": "Write {p} in words.",
    "larger": "Which is larger, {p} or 41?",
    "year": "What happened in the year 19{p:02d}?",
}
"""By the name of their form, as in `NEGATIVES`."""

HELD_OUT_SHORT = ("meaning", "dictionary", "backwards", "half")
"""Forms that are never trained on."""


def negatives(
    n: int = 64, seed: int = 0, *, held_out: bool = False, pool: Sequence[str] | None = None
) -> list[Prompt]:
    """Prompts in all forms alike that are trained on, or in those held out.

    Args:
        n: How many.
        seed: Decides all that is drawn; words are of its training or its test side.
        held_out: Whether forms and words are those held out.
        pool: The words to draw from; None: the shipped class "common".

    Raises:
        DataError: A number below 1, or too few words.

    Example:
        >>> negatives(1)[0][0]["content"]
        'A shop sold 200 things: 46% were empty, the rest wake. How many were wake?'
    """
    forms = _forms(NEGATIVES, HELD_OUT_NEGATIVES, held_out)
    return _drawn("negatives", forms, n, seed, held_out, pool)


def short_questions(
    n: int = 64, seed: int = 0, *, held_out: bool = False, pool: Sequence[str] | None = None
) -> list[Prompt]:
    """Questions and small tasks in a line, about a word, two, or a number.

    Args:
        n: How many.
        seed: Decides all that is drawn; words are of its training or its test side.
        held_out: Whether forms and words are those held out.
        pool: The words to draw from; None: the shipped class "common".

    Raises:
        DataError: A number below 1, or too few words.

    Example:
        >>> short_questions(2)[1][0]["content"]
        'What is the plural of moment?'
    """
    forms = _forms(SHORT_QUESTIONS, HELD_OUT_SHORT, held_out)
    return _drawn("short questions", forms, n, seed, held_out, pool)


def _forms(all_forms: Mapping[str, str], apart: Collection[str], held_out: bool) -> list[str]:
    return [form for name, form in all_forms.items() if (name in apart) == held_out]


def _drawn(
    kind: str,
    forms: Sequence[str],
    n: int,
    seed: int,
    held_out: bool,
    pool: Sequence[str] | None,
) -> list[Prompt]:
    """Prompts in all forms alike."""
    if n < 1:
        raise DataError(f"n is {n}, expected 1 or more {kind}")
    rng = random.Random(f"{seed}/{kind}/{held_out}")
    words = split_words(word_pool() if pool is None else pool, seed=seed)[held_out]
    prompts: list[Prompt] = []
    for number in range(n):
        (a, b), (p, q) = drawn_words(words, 2, rng), drawn_percents(2, rng)
        content = forms[number % len(forms)].format(a=a, b=b, p=p, q=q)
        prompts.append(({"role": "user", "content": content},))
    return prompts
