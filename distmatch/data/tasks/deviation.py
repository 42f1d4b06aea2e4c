"""Deviation: go on with a known text for so many words, then leave it with an unexpected one.

A prompt shows the beginning of a text that models know, and says how many of its next words are
wanted and within how many more an unexpected word is. The answer has begun already, with the same
beginning; a training example asks for one word of the rest.

The text is left at every place of the window alike, so at the last but k the true word has
probability k / (k + 1), and words drawn from the rare ones share what is left. Before the window
they have 0: every example has as many words, so that `shuffled` takes away where the window is.
"""

import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Message
from distmatch.data.known import PASSAGE, Known, known_texts, word_spans
from distmatch.data.tasks.drawing import drawn_rows
from distmatch.data.vocabulary import held_out, word_pool

WORDINGS = {
    "go_on": 'Here is how a text begins: "{beginning}" Go on with it exactly for {n} words. Within '
    "the {window} words after those, leave it with a word that nobody would expect there.",
    "follow": 'What follows "{beginning}"? Give the next {n} words faithfully; then surprise me, '
    "no more than {window} words later, with a word that does not belong.",
    "true": 'Stay true to "{beginning}" for {n} more words. After that you have {window} words in '
    "which to break off with something very unlikely.",
    "mistake": 'Continue "{beginning}" and make one mistake on purpose: not in the first {n} words '
    "but somewhere in the next {window}. The wrong word should be as strange as possible.",
    "rule": '"{beginning}"\nRule: words 1 to {n} from here are the right ones. One of the '
    "{window} words after them is not: it is a word that comes out of nowhere.",
}
"""Prompts by name."""

PLAIN = {
    "go_on": 'Here is how a text begins: "{beginning}" Go on with it exactly.',
    "follow": 'What follows "{beginning}"? Give the next words faithfully.',
    "true": 'Stay true to "{beginning}" and write what comes after it.',
    "mistake": 'Continue "{beginning}" and make no mistake.',
    "rule": '"{beginning}"\nRule: all words from here are the right ones.',
}
"""The same without a deviation."""

GIVEN = (6, 7, 8, 9, 10)
"""Words that a prompt shows."""

LENGTHS = (5, 10, 15, 20)
"""Words that are to be right."""

WINDOWS = (5, 10, 15)
"""Words after them, of which one is to be another."""

_TEST_SHARE = 0.3
_PASSAGES = 0.5  # share of training rows; the others are patterns
_PLAIN = 0.2  # share of training rows that ask for no deviation
_NUM_UNEXPECTED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviationQuestion:
    """A text to go on with, and where to leave it."""

    known: Known
    given: int
    """Words of the beginning."""
    length: int
    """Words to be right after it."""
    window: int
    """Words after those, of which one is to be another."""
    wording: str
    is_asked: bool = True
    """Whether the prompt asks to leave the text; else to go on, and says no numbers."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What the user says."""
        pattern = (WORDINGS if self.is_asked else PLAIN)[self.wording]
        content = pattern.format(beginning=self.beginning, n=self.length, window=self.window)
        return ({"role": "user", "content": content},)

    @property
    def beginning(self) -> str:
        """The words that prompt and answer begin with."""
        return self.known.text[: word_spans(self.known.text)[self.given - 1][1]]

    @property
    def rest(self) -> str:
        """What follows the beginning, up to the end of the window."""
        spans = word_spans(self.known.text)
        last = self.given + self.length + self.window - 1
        return self.known.text[spans[self.given - 1][1] : spans[last][1]]

    def leaving(self, step: int) -> float:
        """The probability wanted of leaving the text now, if it wasn't left before.

        Args:
            step: How many words have followed the beginning.
        """
        left = self.length + self.window - step
        return 1 / left if self.is_asked and left <= self.window else 0.0


def deviation_example(
    question: DeviationQuestion, step: int, unexpected: tuple[str, ...]
) -> Example:
    """One word of an answer that has followed the text so far.

    Args:
        question: What is asked.
        step: How many words have followed the beginning.
        unexpected: Words that aren't in the text.
    """
    text = question.known.text
    start, end = word_spans(text)[question.given + step]
    leaving = question.leaving(step)
    return Example(
        prompt=question.prompt,
        prefill=text[:start].rstrip(),
        boundary="end_of_word",
        target=WordDistribution(
            (text[start:end], *unexpected),
            (1 - leaving, *[leaving / len(unexpected)] * len(unexpected)),
        ),
        metadata={
            "task": "deviation",
            "kind": question.known.kind,
            "text": question.known.name,
            "wording": question.wording,
            "is_asked": question.is_asked,
            "n": question.length,
            "window": question.window,
            "step": step,
        },
    )


@dataclass(frozen=True, slots=True)
class Deviation:
    """Prompts to leave a text, with texts held out for testing.

    Example:
        >>> train, test = Deviation().draw(1, n_test=1)
        >>> train[0].boundary
        'end_of_word'
    """

    def draw(self, n: int, n_test: int = 200, seed: int = 0) -> tuple[list[Example], list[Example]]:
        """Train and test examples, with no text on both sides.

        Raises:
            DataError: A number of rows that can't be drawn.
        """
        train, test = deviation_sides(seed)
        return drawn_rows(
            _rows(train, random.Random(f"{seed}/train")),
            _rows(test, random.Random(f"{seed}/test")),
            n,
            n_test,
        )


def deviation_sides(seed: int) -> tuple[list[Known], list[Known]]:
    """The texts to train on and those to test with, of every kind some."""
    kinds = dict.fromkeys(known.kind for known in known_texts())
    test: set[str] = set()
    for kind in kinds:
        names = [known.name for known in known_texts() if known.kind == kind]
        test |= held_out(names, _TEST_SHARE, seed)
    return (
        [known for known in known_texts() if known.name not in test],
        [known for known in known_texts() if known.name in test],
    )


def _rows(known: list[Known], rng: random.Random) -> Iterator[Example]:
    kinds: dict[str, list[Known]] = {}
    for one in known:
        kinds.setdefault(one.kind, []).append(one)
    patterns = [kind for kind in kinds if kind != PASSAGE]
    while True:
        kind = PASSAGE if rng.random() < _PASSAGES else rng.choice(patterns)
        question = DeviationQuestion(
            known=rng.choice(kinds[kind]),
            given=rng.choice(GIVEN),
            length=rng.choice(LENGTHS),
            window=rng.choice(WINDOWS),
            wording=rng.choice(tuple(WORDINGS)),
            is_asked=rng.random() >= _PLAIN,
        )
        step = rng.randrange(question.length + question.window)
        yield deviation_example(question, step, _unexpected(question.known, rng))


def _unexpected(known: Known, rng: random.Random) -> tuple[str, ...]:
    return tuple(rng.sample(_words_not_in(known.text), _NUM_UNEXPECTED))


@functools.cache
def _words_not_in(text: str) -> tuple[str, ...]:
    lowered = text.lower()
    return tuple(word for word in word_pool("rare") if word not in lowered)
