"""What the tasks draw alike: rows of two sides, words, percents."""

import random
from collections.abc import Collection, Iterator, Sequence
from itertools import islice, pairwise

from distmatch.data.examples import Example
from distmatch.errors import DataError, unknown_name

MOST_WORDS = 5
"""The most words a prompt may have."""

_MOST_DRAWS = 100


def drawn_rows(
    train: Iterator[Example], test: Iterator[Example], n: int, n_test: int
) -> tuple[list[Example], list[Example]]:
    """The first rows of either side.

    Raises:
        DataError: A number of rows that can't be drawn.
    """
    if n < 1 or n_test < 0:
        raise DataError(f"n is {n} and n_test is {n_test}, expected at least 1 and 0 rows")
    return list(islice(train, n)), list(islice(test, n_test))


def drawn_words(pool: Sequence[str], number: int, rng: random.Random) -> tuple[str, ...]:
    """Words of which none begins with another: some boundaries couldn't tell such words apart.

    Raises:
        DataError: The pool holds no such words.
    """
    for _ in range(_MOST_DRAWS):
        words = tuple(rng.sample(pool, number))
        ordered = sorted(word.casefold() for word in words)
        if not any(after.startswith(before) for before, after in pairwise(ordered)):
            return words
    raise DataError(
        f"no {number} words found in {list(pool)[:8]} of which none begins with another: "
        "give a larger pool"
    )


def drawn_percents(number: int, rng: random.Random, step: int = 1) -> tuple[int, ...]:
    """Positive multiples of the step, whole percents with sum 100, every such tuple as likely."""
    cuts = [0, *sorted(rng.sample(range(step, 100, step), number - 1)), 100]
    return tuple(after - before for before, after in pairwise(cuts))


def check_num_words(words: Sequence[int]) -> None:
    """Refuse numbers of words that no prompt has.

    Raises:
        DataError: None at all, or one below 2 or above `MOST_WORDS`.
    """
    if not words or not set(words) <= set(range(2, MOST_WORDS + 1)):
        raise DataError(f"words is {words}, expected numbers of words, 2 to {MOST_WORDS}")


def check_sides(train: Sequence[str], test: Sequence[str], most: int) -> None:
    """Refuse sides with fewer words than a prompt may have.

    Raises:
        DataError: The first such; says of which rows.
    """
    for side, pool in (("train", train), ("test", test)):
        if len(pool) < most:
            raise DataError(
                f"{len(pool)} words for {side} rows of up to {most} words: give a larger pool"
            )


def check_kinds(what: str, kinds: Sequence[str], valid: Collection[str]) -> None:
    """Refuse names that aren't known.

    Args:
        what: What a kind is called in an error.
        kinds: The names given.
        valid: The names there are.

    Raises:
        DataError: None at all, or one that isn't valid.
    """
    if not kinds:
        raise DataError(f"kinds is empty: name some of {list(valid)}")
    for kind in kinds:
        if kind not in valid:
            raise DataError(unknown_name(what, kind, valid))


def check_pool(pool: Sequence[str]) -> None:
    """Refuse what are no words, or one word twice.

    Raises:
        DataError: The first such.
    """
    if isinstance(pool, str):
        raise DataError(f"the pool is the string {pool!r}, expected several words")
    seen: set[str] = set()
    for word in pool:
        if not isinstance(word, str) or not word.strip():
            raise DataError(f"the pool holds {word!r}, expected words")
        if word.casefold() in seen:
            raise DataError(f'the pool holds "{word}" twice (upper and lower case count as one)')
        seen.add(word.casefold())
