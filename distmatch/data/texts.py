"""Ordinary texts and conversations of a file of yours."""

from pathlib import Path
from typing import Any

from distmatch.data.examples import Prompt, checked_prompt
from distmatch.data.jsonl import file_content, json_values
from distmatch.errors import DataError

_KEYS = ("text", "messages")


def read_texts(path: str | Path) -> list[Prompt]:
    """The texts of a JSONL file: each line a string, `{"text": ...}` or `{"messages": [...]}`.

    Raises:
        DataError: The file is missing or empty, or lines of it hold something else: up to 20 bad
            lines are listed, each with file and line number.
    """
    return json_values(file_content(path), _text, str(path))


def _text(value: Any) -> Prompt:
    if isinstance(value, str):
        return checked_prompt(value, "text")
    given = [key for key in _KEYS if isinstance(value, dict) and value.get(key) is not None]
    if len(given) != 1:
        raise DataError('expected a string, or an object with either "text" or "messages"')
    if isinstance(value[given[0]], str) != (given[0] == "text"):
        raise DataError(f'"{given[0]}" must be {"a string" if given[0] == "text" else "a list"}')
    return checked_prompt(value[given[0]], "text")
