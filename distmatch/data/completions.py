"""Rows that say what is to be written, rather than how likely: completions and plain texts.

A completion is a word of probability 1, so that forward KL is its negative log-likelihood, summed
over its tokens and the end of the turn. A text is the completion of its own beginning, up to the
first single space, since with nothing before it there is nothing to predict that from.
"""

import re
from collections.abc import Mapping
from typing import Any

from distmatch.errors import DataError, shown

COMPLETION, TEXT = "completion", "text"
_BEGINNING = re.compile(r"\s*(\S(?:.*?\S)?) (?=\S)", re.DOTALL)


def as_word_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with `prompt` and `completion`, or with `text`, as one with a word of probability 1.

    Args:
        record: Of any kind; one with words stays as it is. A text's loss is a mean over its tokens,
            a completion's is their sum unless it says `per_token`.

    Raises:
        DataError: Both kinds in one record, one that is no string, or a text of one word.
    """
    kinds = [name for name in (COMPLETION, TEXT, "words") if record.get(name) is not None]
    if len(kinds) > 1:
        raise DataError(f"the record has both {kinds[0]} and {kinds[1]}: give one of them")
    if kinds in ([], ["words"]):
        return dict(record)
    (kind,) = kinds
    said = record[kind]
    if not isinstance(said, str) or not said.strip():
        raise DataError(f'column "{kind}" must be a string with something in it, got {shown(said)}')
    rest = {name: value for name, value in record.items() if name not in (COMPLETION, TEXT)}
    if kind == COMPLETION:
        return {**rest, "words": [said], "probs": [1.0]}
    if "prompt" in rest:
        raise DataError(
            'a record with "text" takes no prompt: call it "completion", or leave it out'
        )
    first = _BEGINNING.match(said)
    if first is None:
        raise DataError(
            f"the text {shown(said)} has no space between words, so there is nothing to learn in it"
        )
    return {
        "boundary": "none",
        "per_token": True,
        **rest,
        "prompt": first[1],
        "words": [said[first.end() :].rstrip()],
        "probs": [1.0],
    }
