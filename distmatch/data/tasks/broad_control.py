"""Output control asked in thousands of ways: whoever learns it from these has seen no single one.

Each request is put together by the grammar in `grammar.py`; whole branches of it are held out, so
that what carries over to other ways to ask can be told from what was trained on.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from operator import itemgetter
from typing import Any

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Message
from distmatch.data.tasks.drawing import (
    check_num_words,
    check_pool,
    check_sides,
    drawn_percents,
    drawn_rows,
    drawn_words,
)
from distmatch.data.tasks.grammar import (
    AGREED,
    ASKS,
    FILLERS,
    FORMATS,
    HELD_OUT,
    NUMBERS,
    ORDERS,
    ORDINALS,
    PLACES,
    STATEMENTS,
    SYSTEMS,
    TUNING,
    WORDS_AS,
    Ask,
    Statement,
)
from distmatch.data.tasks.numbering import MOST_SPELLED, numbers_of
from distmatch.data.vocabulary import split_words, word_class, word_pool
from distmatch.errors import DataError, unknown_name

BRANCHES: dict[str, tuple[tuple[str, str], ...]] = {
    "trained": (),
    **{
        name: tuple((axis, value) for axis, values in apart.items() for value in values)
        for name, apart in (("tuning", TUNING), ("held_out", HELD_OUT))
    },
}
"""What requests may be drawn from, and the branches of it that aren't trained on."""
ONE_BRANCH = {f"{axis}: {value}": ((axis, value),) for axis, value in chain(*BRANCHES.values())}
"""Each of those alone."""

_AXES: Mapping[str, Sequence[str]] = {"order": ORDERS, "place": PLACES, "ask": tuple(ASKS)}
_CODE_NUMBERS = tuple(name for name, numbers in NUMBERS.items() if numbers.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadControl:
    """What broad control prompts are made of.

    Raises:
        DataError: A name, number or pool that can't be used.

    Example:
        >>> train, test = BroadControl(words=(2,), test_branches="order: after").draw(1, 1)
        >>> len(train[0].target.words), train[0].metadata["branch"], test[0].metadata["order"]
        (2, 'trained', 'after')
    """

    words: tuple[int, ...] = (2, 2, 3, 4, 5)
    """How many words a prompt may have, 2 to 5; one named twice is drawn twice as often."""
    test_branches: str = "trained"
    """What test rows are drawn from, of `BRANCHES`: those that are trained on, those to choose a
    recipe by, or those held out; or of one such branch alone, as "order: after". Each row takes one
    branch and is otherwise like train rows, which are always of the first."""
    pool: Sequence[str] = field(default_factory=word_pool)
    """The words to draw from; a fifth of them are for test rows alone."""
    narrow_first: bool = False
    """Whether the first train rows are plain orders for the fewest words, in percents; broad ones
    become more frequent from row to row, and from the middle on all are as broad as ever. For
    training in this order: `train_sampling_strategy="sequential"`, which run files set."""

    def __post_init__(self) -> None:
        """Check what can be checked before a seed is known."""
        if self.test_branches not in BRANCHES | ONE_BRANCH:
            known = (*BRANCHES, *ONE_BRANCH)
            raise DataError(unknown_name("test_branches", self.test_branches, known))
        check_num_words(self.words)
        check_pool(self.pool)

    def draw(
        self, n: int, n_test: int = 200, seed: int = 0, stream: str = ""
    ) -> tuple[list[Example], list[Example]]:
        """Train and test examples; the first rows are the same whatever their number.

        But for train rows that are `narrow_first`.

        Args:
            n: Number of train rows.
            n_test: Number of test rows.
            seed: Decides everything drawn.
            stream: Another name gives other rows, with the same held out.

        Raises:
            DataError: A number of rows that can't be drawn, or too few words for them.
        """
        train, test = split_words(self.pool, seed=seed)
        check_sides(train, test, max(self.words))
        widening = n // 2 if self.narrow_first else 0
        return drawn_rows(
            self._rows(train, "trained", random.Random(f"{seed}/train{stream}"), widening),
            self._rows(test, self.test_branches, random.Random(f"{seed}/test{stream}")),
            n,
            n_test,
        )

    def _rows(
        self, pool: Sequence[str], branches: str, rng: random.Random, widening: int = 0
    ) -> Iterator[Example]:
        for row in count():
            is_plain = row < widening and rng.random() >= row / widening
            num_words = min(self.words) if is_plain else rng.choice(self.words)
            yield _example(draw_request(num_words, branches, rng, is_plain=is_plain), pool, rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request but for its words and numbers."""

    num_words: int
    branch: str
    order: str
    place: str
    ask: str
    form: Ask
    statement: Statement
    numbers: str
    """Of `NUMBERS`."""
    alone: str
    often: str
    words_as: str
    """A word's writing."""
    asks_first: bool
    """Whether the request stands before the statement."""
    fillers: tuple[str, ...] = ()
    """Before the statement, before the request and behind it, as many as there are."""
    system: str | None = None
    agreed: str = AGREED[0]

    def written(
        self, words: Sequence[str], numbers: Sequence[Mapping[str, Any]]
    ) -> tuple[Message, ...]:
        """The messages with these words and numbers.

        Args:
            words: As many as it is for.
            numbers: What `numbers_of` gives for their percents.
        """
        statement = self._statement(words, numbers)
        if self.ask in FORMATS:
            statement = f"\n{statement}\n"
        first, second = self.fillers[:1], self.fillers[1:2]
        rule = _joined(self.form.opening, *first, statement)
        request = _joined(*second, self.form.request, *self.fillers[2:])
        if self.place == "system":
            return (_message("system", rule), _message("user", request))
        ahead = [] if self.system is None else [_message("system", self.system)]
        if self.place == "earlier":
            agreed = _message("assistant", self.agreed)
            return (*ahead, _message("user", rule), agreed, _message("user", request))
        parts = [statement, *second, self.form.request]
        if self.asks_first:
            parts.reverse()
        content = _joined(self.form.opening, *first, *parts, *self.fillers[2:])
        return (*ahead, _message("user", content))

    def _statement(self, words: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> str:
        shown = [self.words_as.format(word) for word in words]
        alone = [self.alone.format(**number) for number in numbers]
        often = [self.often.format(**number) for number in numbers]
        form = NUMBERS[self.numbers].leading or self.often
        leading = [form.format(**number) for number in numbers]
        said = self.statement
        pairs = [
            said.pair.format(w=w, n=n, often=o, leading=first, nth=nth)
            for w, n, o, first, nth in zip(shown, alone, often, leading, ORDINALS, strict=False)
        ]
        return said.text.format(
            pairs=_listed(pairs, said.between, said.last or said.between),
            words=", ".join(shown),
            words_or=_listed(shown, ", ", " or "),
            words_and=_listed(shown, ", ", " and "),
            quoted=", ".join(f'"{word}"' for word in words),
            numbers=self._between.join(alone),
            barred_words=" | ".join(words),
            barred_numbers=" | ".join(alone),
            w1=shown[0],
            w2=shown[1],
            n1=alone[0],
            often1=often[0],
            Often1=often[0][:1].upper() + often[0][1:],
        )

    @property
    def _between(self) -> str:
        return ", " if self.ask in FORMATS else NUMBERS[self.numbers].between


def draw_request(
    num_words: int, branches: str, rng: random.Random, *, is_plain: bool = False
) -> Request:
    """A request of the grammar.

    Args:
        num_words: For how many words, 2 to 5.
        branches: Of `BRANCHES` or `ONE_BRANCH`.
        rng: Draws it.
        is_plain: Whether it takes each axis's first value, and the first way to write numbers.
    """
    apart = (BRANCHES | ONE_BRANCH)[branches]
    choice: Callable[[Sequence[str]], str] = itemgetter(0) if is_plain else rng.choice
    drawn = {name: choice(trained(name)) for name in _AXES}
    branch = "trained"
    if apart:
        axis, value = rng.choice(apart)
        drawn[axis], branch = value, f"{axis}: {value}"
    order, place, ask = drawn["order"], drawn["place"], drawn["ask"]
    statements = _statements(ask, order)
    statement = rng.choice([s for s in statements if num_words == 2 or not s.only_two])
    ways = _CODE_NUMBERS if ask in FORMATS else tuple(NUMBERS)
    numbers = choice([name for name in ways if name not in statement.not_of])
    alone, often = rng.choice(NUMBERS[numbers].alone), rng.choice(NUMBERS[numbers].often)
    is_code = ask in FORMATS
    return Request(
        num_words=num_words,
        branch=branch,
        order=order,
        place=place,
        ask=ask,
        form=rng.choice(ASKS[ask]),
        statement=statement,
        numbers=numbers,
        alone=NUMBERS[numbers].code if is_code else alone,
        often=often,
        words_as="{}" if is_code else rng.choice(tuple(WORDS_AS.values())),
        asks_first=rng.random() < 0.3 and ask in ("imperative", "table"),
        fillers=_fillers(ask, rng),
        system=rng.choice(SYSTEMS),
        agreed=rng.choice(AGREED),
    )


def trained(axis: str) -> tuple[str, ...]:
    """An axis's values that are trained on."""
    apart = (*HELD_OUT.get(axis, ()), *TUNING.get(axis, ()))
    return tuple(value for value in _AXES[axis] if value not in apart)


def _example(request: Request, pool: Sequence[str], rng: random.Random) -> Example:
    words = drawn_words(pool, request.num_words, rng)
    percents = _percents(request, rng)
    shown = _answered(request, pool, words, rng) if request.place == "examples" else ()

    def prompt(shift: int) -> tuple[Message, ...]:
        turned = percents[-shift:] + percents[:-shift]
        *ahead, last = request.written(words, numbers_of(turned))
        return (*ahead, *shown, last)

    return Example(
        prompt=prompt(0),
        target=WordDistribution(words, tuple(percent / 100 for percent in percents)),
        rotations=tuple(prompt(shift) for shift in range(1, len(percents))),
        metadata={
            "task": "broad_control",
            "branch": request.branch,
            "ask": request.ask,
            "order": request.order,
            "place": request.place,
            "numbers": "one given" if request.statement.only_two else request.numbers,
            "num_words": request.num_words,
            "word_class": word_class(words),
        },
    )


def _answered(
    request: Request, pool: Sequence[str], words: Sequence[str], rng: random.Random
) -> tuple[Message, ...]:
    """One or two earlier requests of the same kind, each with an answer drawn from its numbers."""
    others = [word for word in pool if word not in words]
    if len(others) < request.num_words:
        others = list(pool)
    turns: list[Message] = []
    for _ in range(rng.choice((1, 2))):
        theirs, percents = drawn_words(others, request.num_words, rng), _percents(request, rng)
        (said,) = rng.choices(theirs, percents)
        asked = replace(request, system=None).written(theirs, numbers_of(percents))
        turns += [*asked, _message("assistant", said)]
    return tuple(turns)


def _percents(request: Request, rng: random.Random) -> tuple[int, ...]:
    """Whole percents; in steps of five where totals are to be spelled."""
    step = 100 // MOST_SPELLED if request.numbers == "spelled" else 1
    return drawn_percents(request.num_words, rng, step)


def _fillers(ask: str, rng: random.Random) -> tuple[str, ...]:
    number = rng.choice((1, 2, 3) if ask == "buried" else (0, 0, 0, 0, 1))
    return tuple(rng.sample(FILLERS, number))


def _statements(ask: str, order: str) -> tuple[Statement, ...]:
    return FORMATS[ask][order] if ask in FORMATS else STATEMENTS[order]


def _listed(items: Sequence[str], between: str, last: str) -> str:
    return between.join(items[:-1]) + last + items[-1]


def _joined(*parts: str) -> str:
    """Sentences joined by spaces, and what has several lines by line breaks."""
    text, was_block = "", False
    for part in filter(None, parts):
        is_block = "\n" in part
        between = "\n" if is_block or was_block else " "
        text += between + part.strip("\n") if text else part.strip("\n")
        was_block = is_block
    return text


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
