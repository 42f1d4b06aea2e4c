"""The errors a user can cause, each also the standard exception it resembles."""

import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

_T = TypeVar("_T")
_U = TypeVar("_U")

_MOST_SHOWN = 20
_LONGEST = 300
"""Characters of a value in a message."""


class DistmatchError(Exception):
    """Anything this library refuses, with what was given, what was expected and what to do."""


class DataError(DistmatchError, ValueError):
    """A record, word, probability or prompt that can't be used."""


class RefusedRow(NamedTuple):
    """A row that can't be used."""

    name: str
    """What such rows are called."""
    number: int
    """From 0."""
    reason: str

    def __str__(self) -> str:
        """As a line of a message."""
        return f"{self.name} {self.number}: {self.reason}"


class RowErrors(DataError):
    """Rows that can't be used, each with its number."""

    def __init__(self, refused: Sequence[RefusedRow]) -> None:
        self.refused = tuple(refused)
        super().__init__(self.refused)

    def __str__(self) -> str:
        """The first 20, a line each, and how many more there are."""
        return _listed(self.refused)


class TargetingError(DistmatchError, ValueError):
    """A layer expression that doesn't name adaptable weights of the model at hand."""


class ConfigError(DistmatchError, ValueError):
    """A setting with an unknown name or an unusable value."""


class DivergedError(ConfigError):
    """A model whose numbers stopped being finite, in training or since."""


class LoadError(DistmatchError, RuntimeError):
    """A model, adapter or cache that is missing, corrupt or doesn't fit."""


class EndpointError(DistmatchError, RuntimeError):
    """An endpoint that can't be reached, refuses, or answers what can't be read."""


class BudgetError(DistmatchError, RuntimeError):
    """What an endpoint may be asked is used up; what it answered is kept."""


class MissingExtraError(DistmatchError, ImportError):
    """An optional dependency that isn't installed."""


def raise_all(errors: Sequence[str]) -> None:
    """One error for many bad records; nothing where there are none.

    Raises:
        DataError: The first 20, a line each, and how many more there are.
    """
    if errors:
        raise DataError(_listed(errors))


def converted(rows: Iterable[_T], convert: Callable[[_T], _U], name: str) -> list[_U]:
    """Every row converted.

    Args:
        rows: What to convert.
        convert: Raises DataError for a row it refuses.
        name: What a row is called in an error, followed by its number from 0.

    Raises:
        RowErrors: The rows refused, with their numbers.
    """
    results, refused = [], []
    for number, row in enumerate(rows):
        try:
            results.append(convert(row))
        except DataError as error:
            refused.append(RefusedRow(name, number, str(error)))
    if refused:
        raise RowErrors(refused)
    return results


@contextmanager
def renumbered(numbers: Sequence[int], name: str) -> Iterator[None]:
    """Inside, errors of rows name what the rows are some of.

    Args:
        numbers: What each row is the number of.
        name: What it is called.

    Raises:
        RowErrors: One raised inside, those of its rows that are called so renamed.
    """
    try:
        yield
    except RowErrors as error:
        raise RowErrors(
            [
                RefusedRow(name, numbers[row.number], row.reason) if row.name == "row" else row
                for row in error.refused
            ]
        ) from error


def _listed(lines: Sequence[object]) -> str:
    rest = len(lines) - _MOST_SHOWN
    tail = [f"... and {rest} more bad records"] if rest > 0 else []
    return "\n".join([*map(str, lines[:_MOST_SHOWN]), *tail])


def refused_together(steps: list[Callable[[], Any]]) -> list[Any]:
    """What the steps return.

    Raises:
        DataError: What any of them refuses, all in one.
    """
    results, errors = [], []
    for step in steps:
        try:
            results.append(step())
        except DataError as error:
            errors.append(str(error))
    if errors:
        raise DataError("\n".join(errors))
    return results


def import_extra(module: str, extra: str) -> ModuleType:
    """The optional module, or an error that names the extra which brings it.

    Raises:
        MissingExtraError: The module can't be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f'this needs "{module}", which is not installed: pip install "distmatch[{extra}]"'
        ) from error


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """The sentence for a name that isn't one of the valid ones, with the nearest of them."""
    valid = list(valid)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    near = near or [part for part in valid if name.startswith(f"{part}_")]  # q_proj for q
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return f'unknown {kind} "{name}"; known: {listed(valid)}.{hint}'


def listed(items: Iterable[object], between: str = ", ") -> str:
    """The first 20 in their order, and how many more there are."""
    items = list(items)
    rest = len(items) - _MOST_SHOWN
    return between.join(map(str, items[:_MOST_SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def shown(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def some(names: Iterable[str]) -> str:
    """The first three, and how many more there are."""
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
