"""Requests for one of two words that somebody wrote who was told the task and nothing else.

Forty of our own, in `by_hand.jsonl` beside the word lists; whoever wrote them had seen neither the
wordings of `OutputControl` nor the grammar of `BroadControl`. They are for asking, never for
training.
"""

import functools
import json
import random
from collections.abc import Sequence
from importlib import resources

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Message
from distmatch.data.tasks.drawing import drawn_percents, drawn_words
from distmatch.data.tasks.numbering import numbers_of
from distmatch.data.vocabulary import split_words, word_class, word_pool


def by_hand(each: int = 3, seed: int = 0, pool: Sequence[str] | None = None) -> list[Example]:
    """Every request with several pairs of words and probabilities.

    Args:
        each: Of every request.
        seed: Decides words and numbers; words are those that tasks of this seed hold out.
        pool: The words to draw from; None: the shipped class "common".

    Example:
        >>> len(by_hand(each=2))
        80
    """
    rng = random.Random(f"{seed}/by hand")
    _, words = split_words(word_pool() if pool is None else pool, seed=seed)
    return [
        _example(name, messages, drawn_words(words, 2, rng), drawn_percents(2, rng))
        for name, messages in _requests().items()
        for _ in range(each)
    ]


def _example(
    name: str, messages: Sequence[Message], words: tuple[str, ...], percents: tuple[int, ...]
) -> Example:
    def prompt(percents: tuple[int, ...]) -> tuple[Message, ...]:
        filled = {"word1": words[0], "word2": words[1]}
        for place, number in enumerate(numbers_of(percents), start=1):
            filled |= {f"{kind}{place}": value for kind, value in number.items()}
        filled["total"] = filled["total1"]
        return tuple({**m, "content": m["content"].format(**filled)} for m in messages)

    return Example(
        prompt=prompt(percents),
        target=WordDistribution(words, tuple(percent / 100 for percent in percents)),
        rotations=(prompt(percents[::-1]),),
        metadata={
            "task": "by_hand",
            "wording": name,
            "num_words": 2,
            "word_class": word_class(words),
        },
    )


@functools.cache
def _requests() -> dict[str, list[Message]]:
    text = resources.files("distmatch.data").joinpath("by_hand.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["name"]: row["messages"] for row in rows}
