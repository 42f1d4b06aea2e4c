"""Values as JSON and a tokenizer can hold them: numpy's and torch's become Python's."""

import math
from collections.abc import Mapping
from typing import Any

from distmatch.errors import DataError, shown


def plain_value(value: Any, name: str) -> Any:
    """The value as JSON holds it: arrays and tensors as lists, their numbers as Python's.

    Args:
        value: Anything.
        name: What it is called in an error.

    Raises:
        DataError: JSON can't hold it, such as NaN or a date; with its place.
    """
    value = as_list(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return checked_text(value, name)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DataError(f"{name} is {value}, which JSON can't hold: give null, or leave it out")
        return value
    if isinstance(value, Mapping):
        if other := [key for key in value if not isinstance(key, str)]:
            raise DataError(f"{name} has the key {other[0]!r}: keys must be strings")
        return {key: plain_value(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item, f"{name}[{place}]") for place, item in enumerate(value)]
    raise DataError(
        f"{name} is {shown(value)}, which JSON can't hold: give it as a number or as text, such as "
        f'"{str(value)[:60]}"'
    )


def as_list(value: Any) -> Any:
    """An array, tensor or series as a list, a number of theirs as Python's; all else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def checked_text(text: str, name: str) -> str:
    """The text, if a tokenizer can read it.

    Args:
        text: Any string.
        name: What it is called in an error.

    Raises:
        DataError: It holds half of a surrogate pair, which is no character.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name} holds {text[error.start]!r} as its character {error.start + 1}, half of a "
            "surrogate pair and no character: write the whole character, or leave it out"
        ) from error
    return text
