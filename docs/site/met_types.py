"""Classes that have no public name and are met all the same: given, taken, or derived from."""

import inspect
import typing
from collections.abc import Iterable, Iterator
from typing import Any


def met_types(values: Iterable[Any], root: str) -> list[type]:
    """The classes of a package named by values' bases and annotations, and by theirs in turn.

    Args:
        values: Classes, functions and constants that are described already; left out.
        root: The package.
    """
    known = [value for value in values if isinstance(value, type)]
    found: list[type] = []
    waiting = list(values)
    while waiting:
        for named in _named(waiting.pop()):
            is_ours = isinstance(named, type) and named.__module__.startswith(f"{root}.")
            if is_ours and named not in known and named not in found:
                found.append(named)
                waiting.append(named)
    return sorted(found, key=lambda one: (one.__module__, one.__name__))


def _named(value: Any) -> Iterator[Any]:
    """What the bases and annotations of a class, or the annotations of a function, are made of."""
    if isinstance(value, type):
        for base in value.__bases__:
            yield from _parts(base)
        for member in vars(value).values():
            member = member.fget if isinstance(member, property) else member
            member = getattr(member, "__func__", getattr(member, "func", member))
            if inspect.isfunction(member):
                yield from _named(member)
    annotations = getattr(inspect.unwrap(value), "__annotations__", {})
    for name, annotation in annotations.items():
        if not name.startswith("_"):
            yield from _parts(annotation)


def _parts(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, list | tuple):
        for one in annotation:
            yield from _parts(one)
    else:
        yield typing.get_origin(annotation) or annotation
        for one in typing.get_args(annotation):
            yield from _parts(one)
