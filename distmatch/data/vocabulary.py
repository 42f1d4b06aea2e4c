"""Pools of words to build tasks from: shipped classes, disjoint splits.

The shipped pool is a list of our own, `words.txt` beside this file: two large classes of common
and rare English words, and small classes that differ in kind (colours, names, nonsense,
several-word strings, other languages). No word is in two classes.
"""

import functools
import random
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from distmatch.errors import DataError, unknown_name

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ENDINGS = ("'s", "ing", "ies", "es", "ed", "er", "ly", "s", "y")
_SHORTEST_STEM = 3


def word_classes() -> tuple[str, ...]:
    """The names of the shipped classes, the large one of ordinary words first."""
    return tuple(_shipped())


def word_pool(name: str = "common") -> tuple[str, ...]:
    """The words of one shipped class.

    Raises:
        DataError: No class has this name.

    Example:
        >>> word_pool("colours")[:3]
        ('red', 'blue', 'green')
    """
    if name not in _shipped():
        raise DataError(unknown_name("word class", name, _shipped()))
    return _shipped()[name]


def words_of_tokens(
    words: Iterable[str], tokenizer: "PreTrainedTokenizerBase", at_least: int
) -> tuple[str, ...]:
    """The words that the tokenizer spells, without a space before them, in so many tokens or more.

    Words of many tokens begin with short pieces that other words begin with too, so what is
    learned about some of them holds for others: a small model controls them sooner.
    """
    return tuple(word for word in words if len(tokenizer.tokenize(word)) >= at_least)


def word_class(words: Iterable[str]) -> str:
    """The shipped class all the words belong to; `"mixed"`, or `"given"` if one is in none.

    Example:
        >>> word_class(["red", "blue"])
        'colours'
    """
    found = {_class_of().get(word, "given") for word in words}
    if "given" in found:
        return "given"
    return found.pop() if len(found) == 1 else "mixed"


def split_words(
    words: Sequence[str], test_share: float = 0.2, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words in two parts, train and test, in their given order.

    Spellings of one word (upper and lower case, Unicode variants) and its simple English
    inflections ("bake", "bakes", "baking") always go to the same part. Which part that is depends
    on the word, the share and the seed, not on the other words: what is held out of one pool is
    held out of every other.

    Args:
        words: At least two words that aren't spellings or inflections of one.
        test_share: About which part of the words goes to test, between 0 and 1; at least one word
            goes to either side.
        seed: Decides which.

    Raises:
        DataError: The share is not between 0 and 1, or the words can't be split.

    Example:
        >>> split_words(["cat", "cats", "oak", "elm", "fir"], test_share=0.4)
        (('cat', 'cats', 'oak', 'elm'), ('fir',))
    """
    if not 0 < test_share < 1:
        raise DataError(f"test_share is {test_share!r}, expected a number between 0 and 1")
    families = {stem(word) for word in words}
    if len(families) < 2:
        raise DataError(f"{list(words)[:8]} can't be split: two different words are needed")
    test = held_out(families, test_share, seed)
    return (
        tuple(word for word in words if stem(word) not in test),
        tuple(word for word in words if stem(word) in test),
    )


def held_out(names: Iterable[str], test_share: float, seed: int) -> set[str]:
    """About the given share of two or more names: at least one, and never all.

    Whether a name is among them depends on it, the share and the seed alone, but where one side
    would stay empty.
    """
    drawn = {name: random.Random(f"{seed}/held out/{name}").random() for name in names}
    first, *others = sorted(drawn, key=drawn.__getitem__)
    return {first, *(name for name in others[:-1] if drawn[name] < test_share)}


def stem(word: str) -> str:
    """What spellings and simple inflections of a word share; crude, and only ever compared."""
    root = unicodedata.normalize("NFKC", word).casefold()
    for ending in _ENDINGS:
        if root.endswith(ending) and len(root) - len(ending) >= _SHORTEST_STEM:
            root = root.removesuffix(ending)
            break
    if len(root) > _SHORTEST_STEM and root[-1] == root[-2]:
        root = root[:-1]
    return root.rstrip("eyi") if len(root) > _SHORTEST_STEM else root


@functools.cache
def _shipped() -> dict[str, tuple[str, ...]]:
    text = resources.files("distmatch.data").joinpath("words.txt").read_text(encoding="utf-8")
    return dict(_sections(text))


@functools.cache
def _class_of() -> dict[str, str]:
    return {word: name for name, words in _shipped().items() for word in words}


def _sections(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name and words of each `[name]` section of the file."""
    _, *sections = text.split("\n[")
    for section in sections:
        name, words = section.split("]", 1)
        listed = (word.strip() for word in words.replace("\n", ",").split(","))
        yield name, tuple(word for word in listed if word)
