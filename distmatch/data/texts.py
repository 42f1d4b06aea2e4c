"""Ordinary texts and conversations of a file of yours."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distmatch.data.examples import Prompt, checked_prompt, plain_prompt
from distmatch.data.jsonl import file_content, json_values
from distmatch.errors import DataError
from distmatch.files import write_text

_KEYS = ("text", "messages")


def read_texts(path: str | Path) -> list[Prompt]:
    """The texts of a JSONL file: each line a string, `{"text": ...}` or `{"messages": [...]}`.

    Raises:
        DataError: The file is missing or empty, or lines of it hold something else: up to 20 bad
            lines are listed, each with file and line number.
    """
    return json_values(file_content(path), _text, str(path))


def write_texts(path: str | Path, texts: Iterable[Prompt]) -> None:
    """Write texts and chats as `read_texts` reads them, whole or not at all.

    Args:
        path: Its folder is made.
        texts: Strings or messages.
    """
    lines = [
        json.dumps(
            {"text": text} if isinstance(text, str) else {"messages": plain_prompt(text)},
            ensure_ascii=False,
        )
        for text in texts
    ]
    write_text(path, "".join(line + "\n" for line in lines))


def _text(value: Any) -> Prompt:
    if isinstance(value, str):
        return checked_prompt(value, "text")
    given = [key for key in _KEYS if isinstance(value, dict) and value.get(key) is not None]
    if len(given) != 1:
        raise DataError('expected a string, or an object with either "text" or "messages"')
    if isinstance(value[given[0]], str) != (given[0] == "text"):
        raise DataError(f'"{given[0]}" must be {"a string" if given[0] == "text" else "a list"}')
    return checked_prompt(value[given[0]], "text")
