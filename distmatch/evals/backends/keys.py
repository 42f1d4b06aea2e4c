"""Keys of endpoints: read from the environment, and kept out of all that is shown or written."""

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from distmatch.errors import ConfigError

OPENAI = "https://api.openai.com/v1"

_NONE = "none"  # the client wants one, and servers of one's own take any
_HIDDEN = "***"
_LEAST, _LEAST_OF_LETTERS = 8, 20
"""A key of fewer characters, of letters alone or not, may be a word of an answer."""


class Key:
    """A key, which is shown nowhere.

    Args:
        value: The key itself.
    """

    def __init__(self, value: str) -> None:
        self.value = value
        escaped = {json.dumps(value)[1:-1], repr(value)[1:-1], repr(value.encode())[2:-1]}
        forms = {value, *escaped, quote(value), quote(value, safe="")}
        self._forms = sorted(forms, key=len, reverse=True)

    def __repr__(self) -> str:
        """Without it."""
        return f"Key({_HIDDEN})"

    def hidden(self, told: str) -> str:
        """A text without the key, however it is escaped there."""
        if self.value == _NONE:
            return told
        for form in self._forms:
            told = told.replace(form, _HIDDEN)
        return told

    def hidden_in(self, reply: Any) -> Any:
        """A reply without the key; one that may be a word of an answer is left there."""
        if len(self.value) < (_LEAST_OF_LETTERS if self.value.isalpha() else _LEAST):
            return reply
        if isinstance(reply, str):
            return self.hidden(reply)
        if isinstance(reply, Mapping):
            return {self.hidden(str(name)): self.hidden_in(part) for name, part in reply.items()}
        return [self.hidden_in(part) for part in reply] if isinstance(reply, list) else reply


def is_openais(base: str) -> bool:
    """Whether a URL is OpenAI's own."""
    return base.rstrip("/") == OPENAI


def read_key(base: str, key_env: str | None) -> Key:
    """The key for an endpoint, without white space around it.

    Args:
        base: The endpoint's URL.
        key_env: The environment variable that holds it; None: OPENAI_API_KEY for OpenAI's own
            endpoint, and no key for any other.

    Raises:
        ConfigError: There is none, or it holds what no header can.
    """
    if key_env is None and not is_openais(base):
        return Key(_NONE)
    name = key_env or "OPENAI_API_KEY"
    key = os.environ.get(name, "").strip()
    if not key:
        raise ConfigError(f"the environment variable {name} holds no key for {base}: set it")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the key in the environment variable {name} holds characters that no header can "
            "(beyond ASCII, or line breaks): copy it again"
        )
    return Key(key)
