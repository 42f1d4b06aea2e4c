"""Files that are written whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A place beside a path to write to, which takes the path's place once all is written.

    What an error or a kill leaves unfinished never stands at the path; folders are made.

    Args:
        path: The file; one that is there stays until the other takes its place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # another process has its own
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text, in UTF-8."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any, *, indent: int = 1) -> None:
    """Write plain dicts, lists and numbers.

    Raises:
        ValueError: A number that isn't finite, which JSON doesn't have.
    """
    write_text(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=indent) + "\n")
