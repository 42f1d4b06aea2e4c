"""Ordinary texts and chats, to see whether a trained model still behaves as before.

The shipped ones are a list of our own, `ordinary.txt` beside this file, in several kinds.
"""

import functools
from importlib import resources

from distmatch.data.examples import Prompt

CHAT = "chat"
"""The kind whose texts are conversations."""


@functools.cache
def ordinary_texts() -> dict[str, tuple[Prompt, ...]]:
    """Texts by kind; of the kind "chat" messages, a user's and the assistant's.

    Example:
        >>> list(ordinary_texts())
        ['story', 'facts', 'letter', 'instructions', 'code', 'argument', 'chat']
    """
    content = resources.files("distmatch.data").joinpath("ordinary.txt").read_text(encoding="utf-8")
    _, *sections = content.split("\n[")
    named = [section.split("]\n", 1) for section in sections]
    return {
        kind: tuple(_prompt(kind, text.strip("\n")) for text in body.strip("\n").split("\n\n"))
        for kind, body in named
    }


def _prompt(kind: str, text: str) -> Prompt:
    if kind != CHAT:
        return text
    question, answer = text.split("\n", 1)
    return ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
