"""Classes that have no public name and are met all the same: given, taken, or derived from."""

import inspect
import typing
from collections.abc import Iterable, Iterator
from typing import Any


def met_types(values: Iterable[Any], root: str) -> list[type]:
    """The classes of a package that signatures and bases name, and those that theirs name in turn.

    Args:
        values: Classes, functions and constants that are described already, and so left out.
        root: The package.
    """
    waiting = list(values)
    known = [value for value in waiting if isinstance(value, type)]
    found: list[type] = []
    while waiting:
        for named in _named(waiting.pop()):
            is_ours = isinstance(named, type) and named.__module__.startswith(f"{root}.")
            is_private = is_ours and named.__name__.startswith("_")
            if is_ours and not is_private and named not in [*known, *found]:
                found.append(named)
                waiting.append(named)
    return sorted(found, key=lambda one: (one.__module__, one.__name__))


def _named(value: Any) -> Iterator[Any]:
    """What bases and annotations are made of: a function's, or those that are shown of a class."""
    if isinstance(value, type):
        for base in value.__bases__:
            yield from _parts(base)
        for name, member in vars(value).items():
            member = member.fget if isinstance(member, property) else member
            member = getattr(member, "__func__", getattr(member, "func", member))
            if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_")):
                yield from _named(member)
    for name, annotation in getattr(inspect.unwrap(value), "__annotations__", {}).items():
        if not name.startswith("_"):
            yield from _parts(annotation)


def _parts(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, list | tuple):
        for one in annotation:
            yield from _parts(one)
    else:
        yield typing.get_origin(annotation) or annotation
        yield from _parts(typing.get_args(annotation))
