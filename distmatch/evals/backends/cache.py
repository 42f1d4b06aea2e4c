"""Replies, kept in a file under what was asked, so that nothing is asked and paid for twice."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distmatch.errors import DataError

Reply = dict[str, Any]

_START = b'{"key": "'


def request_key(url: str, body: Mapping[str, Any], draw: int = 0) -> str:
    """The name under which a reply is kept: a hash of where and what was asked, never of a key.

    Args:
        url: Where.
        body: What.
        draw: Tells apart what is asked several times in the same words.
    """
    asked = json.dumps([url, body, draw], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


class Cache:
    """Replies by the hash of their request, a line each, appended as they come.

    What a killed process left half-written is asked again.

    Args:
        path: A JSONL file, there or not; None: replies are only remembered.

    Raises:
        DataError: The file can't be read, or holds something else.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self._replies: dict[str, Reply] = {}
        self._is_torn = False
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def get(self, key: str) -> Reply | None:
        """The reply that is kept under a key, if there is one."""
        return self._replies.get(key)

    def keep(self, key: str, reply: Reply) -> None:
        """Remember a reply, and write it down."""
        self._replies[key] = reply
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, "reply": reply})
        content = ("\n" * self._is_torn + line + "\n").encode()
        # One write at the end, so that lines of two processes never mix
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            self._is_torn = os.write(file, content) < len(content)
        finally:
            os.close(file)

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"can't read the replies in {path}: {error.strerror}") from error
        self._is_torn = bool(content) and not content.endswith(b"\n")
        for line in content.splitlines():
            try:
                record = json.loads(line)
                self._replies[record["key"]] = record["reply"]
            except (ValueError, KeyError, TypeError):
                if not _is_torn(line):
                    raise DataError(
                        f"{path} holds something else than an endpoint's replies: name another "
                        "file as the cache"
                    ) from None


def _is_torn(line: bytes) -> bool:
    """Whether this is the beginning of a line that `keep` writes."""
    return line[: len(_START)] == _START[: len(line)]
