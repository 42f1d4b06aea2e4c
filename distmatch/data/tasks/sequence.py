"""Sequences: answers of several words, each drawn anew with the probabilities the prompt states.

Either the whole answer is one outcome of a joint distribution over strings of two or three words,
or the answer is a list under way, and what is asked for is its next word.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Message, Prompt
from distmatch.data.tasks.drawing import (
    check_kinds,
    check_pool,
    drawn_percents,
    drawn_rows,
    drawn_words,
)
from distmatch.data.vocabulary import split_words, word_pool
from distmatch.errors import DataError

WORDINGS = {
    "listed": (
        "Answer with two words, one of these pairs: {outcomes}.",
        "Draw one of the pairs {outcomes}, and write it.",
        "Which pair? {outcomes}. Write only the two words.",
    ),
    "independent": (
        "Answer with two words. The first: {draw1}. The second, drawn by itself: {draw2}.",
        "Draw twice, independently: {draw1}; then {draw2}. Write both words.",
        "Word 1 is {draw1}. Word 2 is {draw2}, whatever word 1 is. Write both.",
    ),
    "chained": (
        'Answer with two words. The first: {draw1}. After "{first1}": {draw2}. After "{first2}": '
        "{draw3}.",
        'Begin with {draw1}. Go on, after "{first1}", with {draw2}; after "{first2}", with '
        "{draw3}.",
    ),
    "three words": (
        "Answer with three words, each drawn by itself: {draw1}; {draw2}; {draw3}.",
        "Draw three times, independently: {draw1}; then {draw2}; then {draw3}. Write all three.",
    ),
    "steps": (
        "Write a long list of words with commas between them. Every word is drawn anew: {draw1}.",
        "Go on and on, separated by commas: at each place {draw1}, independently of the others.",
        "A sequence of independent draws, with commas: {draw1}.",
    ),
}
"""Prompts by kind."""

MOST_STEPS = 8
"""Places of a list that are asked about."""

_SYSTEM = "Give only what is asked for."
_NUM_WORDS = {"listed": 4, "independent": 4, "chained": 4, "three words": 6, "steps": 2}
_TEST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Draw:
    """One word of an answer: words, their whole percents, and how both are written."""

    words: tuple[str, ...]
    percents: tuple[int, ...]
    is_ahead: bool
    """Whether each number stands before its word."""

    @property
    def probs(self) -> dict[str, float]:
        """Probabilities by word."""
        return {word: p / 100 for word, p in zip(self.words, self.percents, strict=True)}

    def __str__(self) -> str:
        """As a prompt has it."""
        both = zip(self.words, self.percents, strict=True)
        pattern = '{percent}% "{word}"' if self.is_ahead else '"{word}" {percent}%'
        return " or ".join(pattern.format(word=word, percent=percent) for word, percent in both)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """What prompts for several words are made of.

    Raises:
        DataError: An unknown kind, or none.

    Example:
        >>> train, test = Sequences(kinds=("independent",)).draw(1, n_test=1)
        >>> [len(word.split()) for word in train[0].target.words]
        [2, 2, 2, 2]
    """

    kinds: tuple[str, ...] = tuple(WORDINGS)
    """The kinds to draw from, each equally often; names of `WORDINGS`."""
    pool: Sequence[str] = field(default_factory=word_pool)
    """The words to draw from; by default the shipped class "common"."""
    system: str | None = _SYSTEM
    """The system message; None leaves it out."""

    def __post_init__(self) -> None:
        """Check kinds and words."""
        check_kinds("kind of sequence", self.kinds, WORDINGS)
        check_pool(self.pool)
        several = [word for word in self.pool if len(word.split()) > 1]
        if several:
            raise DataError(f"the pool holds {several[:3]}, expected single words: leave them out")

    def draw(self, n: int, n_test: int = 200, seed: int = 0) -> tuple[list[Example], list[Example]]:
        """Train and test examples, with no word on both sides.

        Raises:
            DataError: A number of rows that can't be drawn, or too few words for them.
        """
        sides = split_words(self.pool, _TEST_SHARE, seed)
        needed = max(_NUM_WORDS[kind] for kind in self.kinds)
        for side, pool in zip(("train", "test"), sides, strict=True):
            if len(pool) < needed:
                raise DataError(f"{len(pool)} words for {side} rows of {needed}: give more words")
        train, test = (
            self._rows(pool, random.Random(f"{seed}/{side}"))
            for side, pool in zip(("train", "test"), sides, strict=True)
        )
        return drawn_rows(train, test, n, n_test)

    def _rows(self, pool: Sequence[str], rng: random.Random) -> Iterator[Example]:
        while True:
            example = self._row(pool, rng)
            if self.system is not None:
                system = {"role": "system", "content": self.system}
                prompt, *rotations = (
                    (system, *messages) for messages in (example.prompt, *example.rotations)
                )
                example = replace(example, prompt=prompt, rotations=tuple(rotations))
            yield example

    def _row(self, pool: Sequence[str], rng: random.Random) -> Example:
        kind = rng.choice(self.kinds)
        words = drawn_words(pool, _NUM_WORDS[kind], rng)
        wording = rng.choice(WORDINGS[kind])
        if kind == "listed":
            return _listed(wording, words, rng)
        if kind != "steps":
            return _drawn_in_turn(kind, wording, words, rng)
        step = begun(wording, _draw(words, rng))
        for _ in range(rng.randrange(MOST_STEPS)):
            step = next_step(step, rng.choices(step.target.words, step.target.probs)[0])
        return step


def begun(wording: str, draw: Draw) -> Example:
    """A list before its first word.

    Args:
        wording: One of those of "steps".
        draw: Of every word.
    """
    return Example(
        prompt=_prompt(wording, draw1=draw),
        target=WordDistribution(draw.words, tuple(draw.probs.values())),
        boundary="end_of_word",
        metadata={"task": "sequence", "kind": "steps", "step": 1},
    )


def next_step(step: Example, said: str) -> Example:
    """The place of a list after another, at which a word was said."""
    assert not isinstance(step.prompt, str)
    *_, last = step.prompt
    is_first = step.metadata["step"] == 1
    written = f"{said}," if is_first else f"{last['content']} {said},"
    asked: Sequence[Message] = step.prompt if is_first else step.prompt[:-1]
    return Example(
        prompt=(*asked, {"role": "assistant", "content": written}),
        target=step.target,
        boundary="end_of_word",
        metadata={**step.metadata, "step": step.metadata["step"] + 1},
    )


def first_word(example: Example) -> Example:
    """The same prompt, of which only the answer's first word counts."""
    probs: dict[str, float] = {}
    for words, prob in zip(example.target.words, example.target.probs, strict=True):
        first = words.split()[0]
        probs[first] = probs.get(first, 0.0) + prob
    return replace(
        example,
        target=WordDistribution(tuple(probs), tuple(probs.values())),
        boundary="end_of_word",
        rotations=(),
    )


def _listed(wording: str, words: tuple[str, ...], rng: random.Random) -> Example:
    pairs = tuple(f"{a} {b}" for a, b in itertools.product(words[:2], words[2:]))
    draw = _draw(pairs, rng)

    def prompt(shift: int) -> Prompt:
        percents = draw.percents[-shift:] + draw.percents[:-shift]
        return _prompt(wording, outcomes=Draw(pairs, percents, draw.is_ahead))

    return Example(
        prompt=prompt(0),
        target=WordDistribution(pairs, tuple(draw.probs.values())),
        rotations=tuple(prompt(shift) for shift in range(1, len(pairs))),
        metadata={"task": "sequence", "kind": "listed"},
    )


def _drawn_in_turn(kind: str, wording: str, words: tuple[str, ...], rng: random.Random) -> Example:
    is_ahead = rng.random() < 1 / 2
    firsts, others = words[:2], words[2:]
    pairs = [firsts, others, others] if kind == "chained" else [firsts, others[:2], others[2:]]
    draws = [Draw(pair, drawn_percents(2, rng), is_ahead) for pair in pairs if pair]
    if kind == "chained":
        after = [dict(zip(firsts, draws[1:], strict=True))]
    else:
        after = [dict.fromkeys(before.words, draw) for before, draw in itertools.pairwise(draws)]
    outcomes = _outcomes(draws[0], after)
    shown = {f"draw{number}": draw for number, draw in enumerate(draws, start=1)}
    return Example(
        prompt=_prompt(wording, **shown, first1=firsts[0], first2=firsts[1]),
        target=WordDistribution(tuple(outcomes), tuple(outcomes.values())),
        metadata={"task": "sequence", "kind": kind},
    )


def _outcomes(first: Draw, after: Sequence[Mapping[str, Draw]]) -> dict[str, float]:
    """Whole answers and their probabilities; each later draw depends on the word before it."""
    found = first.probs
    for draws in after:
        found = {
            f"{said} {word}": prob * share
            for said, prob in found.items()
            for word, share in draws[said.split()[-1]].probs.items()
        }
    return found


def _draw(words: tuple[str, ...], rng: random.Random) -> Draw:
    return Draw(words, drawn_percents(len(words), rng), rng.random() < 1 / 2)


def _prompt(wording: str, **shown: object) -> tuple[Mapping[str, str], ...]:
    return ({"role": "user", "content": wording.format(**shown)},)
