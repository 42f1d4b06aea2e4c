"""Output control: answer with one of K given words, with the probabilities the prompt states.

All probabilities are whole percents, so every phrasing ("37%", "37/100", "37 to 63") states the
target exactly. What prompts say is in `wordings.py`.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Prompt
from distmatch.data.tasks.drawing import (
    check_num_words,
    check_pool,
    check_sides,
    drawn_percents,
    drawn_rows,
    drawn_words,
)
from distmatch.data.tasks.wordings import PHRASINGS, SYSTEM, WORDINGS, Frame
from distmatch.data.vocabulary import split_words, word_class, word_pool
from distmatch.errors import DataError, unknown_name

AXES = ("words", "targets", "wordings", "phrasings")
"""What can be held out for the test rows."""

_T = TypeVar("_T")
_Targets = frozenset[tuple[int, ...]]

_TEST_SHARE = 0.2


def output_control(
    n: int = 2000,
    words: int | tuple[int, ...] = (2, 3),
    hold_out: str | tuple[str, ...] | None = "words",
    seed: int = 0,
    n_test: int = 200,
    phrasings: tuple[str, ...] = ("percent",),
) -> tuple[list[Example], list[Example]]:
    """Train and test examples that ask for one of K words with stated probabilities.

    The simple door to `OutputControl`, which has more settings.

    Args:
        n: Number of train rows.
        words: Number of words in a prompt, 2 to 5, or several such numbers to draw from.
        hold_out: What test rows share with no train row: one or more of `AXES`, or None.
        seed: Decides everything drawn.
        n_test: Number of test rows.
        phrasings: Ways the numbers may be written, names from `PHRASINGS`.

    Raises:
        DataError: A setting or number that can't be used.

    Example:
        >>> train, test = output_control(n=4, words=2, n_test=1)
        >>> len(train), sum(test[0].target.probs)
        (4, 1.0)
    """
    task = OutputControl(
        words=(words,) if isinstance(words, int) else words,
        hold_out=(hold_out,) if isinstance(hold_out, str) else hold_out or (),
        phrasings=phrasings,
    )
    return task.draw(n, n_test=n_test, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputControl:
    """What output control prompts are made of.

    Raises:
        DataError: A name, number or pool that can't be used.

    Example:
        >>> task = OutputControl(words=(2,), wordings=("bare",), pool=("ash", "elm"), hold_out=())
        >>> train, test = task.draw(1)
        >>> train[0].prompt[-1]["content"]
        'ash, elm: 56%, 44%'
    """

    words: tuple[int, ...] = (2, 3)
    """How many words a prompt may have, 2 to 5."""
    hold_out: tuple[str, ...] = ("words",)
    """What test rows share with no train row, from `AXES`: words of the pool, probabilities in
    any order, wordings (a fifth of each, at least one, drawn by the seed), or the phrasing named
    last. The axes not held out are drawn alike on both sides."""
    phrasings: tuple[str, ...] = ("percent",)
    """Ways the numbers may be written, names from `PHRASINGS`."""
    wordings: tuple[str, ...] = tuple(WORDINGS)
    """The wordings to draw from, names from `WORDINGS`."""
    pool: Sequence[str] = field(default_factory=word_pool)
    """The words to draw from; by default the shipped class "common"."""
    system: str | None = SYSTEM
    """The system message. None leaves it out; some templates then write a long one of theirs."""

    def __post_init__(self) -> None:
        """Check what can be checked before a seed is known."""
        _check_names("phrasing", self.phrasings, PHRASINGS)
        _check_names("wording", self.wordings, WORDINGS)
        _check_names("hold_out axis", self.hold_out or AXES, AXES)
        check_num_words(self.words)
        for axis, choices in (("wordings", self.wordings), ("phrasings", self.phrasings)):
            if axis in self.hold_out and len(choices) < 2:
                raise DataError(f"holding out {axis} needs two of them, got only {list(choices)}")
        check_pool(self.pool)

    def draw(
        self, n: int, n_test: int = 200, seed: int = 0, stream: str = ""
    ) -> tuple[list[Example], list[Example]]:
        """Train and test examples; the first rows are the same whatever their number.

        Args:
            n: Number of train rows.
            n_test: Number of test rows.
            seed: Decides everything drawn.
            stream: Another name gives other rows, with the same held out.

        Raises:
            DataError: A number of rows that can't be drawn, or too few words for them.
        """
        train, test = _sides(self, seed)
        return drawn_rows(
            _rows(self, train, random.Random(f"{seed}/train{stream}")),
            _rows(self, test, random.Random(f"{seed}/test{stream}")),
            n,
            n_test,
        )


@dataclass(frozen=True, slots=True)
class _Side:
    """What the rows of one side, train or test, are drawn from."""

    pool: Sequence[str]
    wordings: tuple[str, ...]
    phrasings: tuple[str, ...]
    refused: _Targets
    """Sorted percents that belong to the other side."""


def _rows(task: OutputControl, side: _Side, rng: random.Random) -> Iterator[Example]:
    while True:
        frame = _frame(task, side, rng)
        percents = drawn_percents(len(frame.words), rng)
        if tuple(sorted(percents)) not in side.refused:
            yield _example(task, frame, percents)


def _frame(task: OutputControl, side: _Side, rng: random.Random) -> Frame:
    words = drawn_words(side.pool, rng.choice(task.words), rng)
    phrasing = rng.choice(side.phrasings)
    return Frame(
        words=words,
        wording=rng.choice(side.wordings),
        phrasing=phrasing,
        style=rng.choice(PHRASINGS[phrasing]),
        multiple=rng.choice((1, 2)),
    )


def _example(task: OutputControl, frame: Frame, percents: tuple[int, ...]) -> Example:
    def prompt(shift: int) -> Prompt:
        content = frame.content(percents[-shift:] + percents[:-shift])
        system = [] if task.system is None else [{"role": "system", "content": task.system}]
        return (*system, {"role": "user", "content": content})

    return Example(
        prompt=prompt(0),
        target=WordDistribution(frame.words, tuple(percent / 100 for percent in percents)),
        rotations=tuple(prompt(shift) for shift in range(1, len(percents))),
        metadata={
            "task": "output_control",
            "wording": frame.wording,
            "phrasing": frame.phrasing,
            "num_words": len(frame.words),
            "word_class": word_class(frame.words),
        },
    )


def _sides(task: OutputControl, seed: int) -> tuple[_Side, _Side]:
    """What train and test rows are drawn from, apart in the axes held out."""
    pools: tuple[Sequence[str], Sequence[str]] = (task.pool, task.pool)
    wordings = (task.wordings, task.wordings)
    phrasings = (task.phrasings, task.phrasings)
    targets: tuple[_Targets, _Targets] = (frozenset(), frozenset())
    if "words" in task.hold_out:
        pools = split_words(task.pool, _TEST_SHARE, seed)
    if "wordings" in task.hold_out:
        wordings = _parted(task.wordings, random.Random(f"{seed}/wordings"))
    if "phrasings" in task.hold_out:
        phrasings = (task.phrasings[:-1], task.phrasings[-1:])
    if "targets" in task.hold_out:
        targets = _parted_targets(task.words, random.Random(f"{seed}/targets"))
    check_sides(*pools, max(task.words))
    return (
        _Side(pools[0], wordings[0], phrasings[0], targets[1]),
        _Side(pools[1], wordings[1], phrasings[1], targets[0]),
    )


def _parted(items: Sequence[_T], rng: random.Random) -> tuple[tuple[_T, ...], tuple[_T, ...]]:
    """The items in two parts, train and test, in their order."""
    held = set(rng.sample(range(len(items)), max(1, round(_TEST_SHARE * len(items)))))
    return (
        tuple(item for i, item in enumerate(items) if i not in held),
        tuple(item for i, item in enumerate(items) if i in held),
    )


def _parted_targets(numbers: tuple[int, ...], rng: random.Random) -> tuple[_Targets, _Targets]:
    """The sorted percents of train rows and those of test rows."""
    parts = [_parted(tuple(_partitions(100, k)), rng) for k in sorted(set(numbers))]
    train, test = (frozenset(chain.from_iterable(side)) for side in zip(*parts, strict=True))
    return train, test


def _partitions(total: int, parts: int, least: int = 1) -> Iterator[tuple[int, ...]]:
    """Every ascending tuple of so many whole numbers, none below `least`, with this sum."""
    if parts == 1:
        yield (total,)
        return
    for first in range(least, total // parts + 1):
        for rest in _partitions(total - first, parts - 1, first):
            yield (first, *rest)


def _check_names(kind: str, names: Sequence[str], valid: Collection[str]) -> None:
    if isinstance(names, str) or not names:
        raise DataError(f"{names!r} given for {kind}, expected a tuple of names")
    if len(set(names)) < len(names):
        raise DataError(f"a {kind} is given twice in {list(names)}")
    for name in names:
        if name not in valid:
            raise DataError(unknown_name(kind, name, valid))
