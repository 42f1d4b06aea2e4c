"""What an endpoint's reply says: whole answers, and what could have stood at each place of them.

Two formats are read: that of chats (`logprobs.content`) and the older one of completions
(`logprobs.top_logprobs`), whichever a reply has.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distmatch.errors import EndpointError
from distmatch.evals.backends.cache import Reply

_BYTES = "bytes:"  # how OpenAI's completions write a token that ends within a character
_ROUNDING = 0.02  # of 16 bits
_MOST_SHOWN = 300


class Next(NamedTuple):
    """The likeliest next tokens."""

    tokens: tuple[tuple[str, float], ...]
    """Texts and probabilities."""
    unseen: float
    """Probability of all others together."""

    @classmethod
    def of(cls, tokens: Sequence[tuple[str, float]]) -> "Next":
        """These, and what is unseen beside them.

        Raises:
            ValueError: They are more than everything.
        """
        total = math.fsum(prob for _, prob in tokens)
        if total > 1 + _ROUNDING:
            raise ValueError(f"next tokens have a probability of {total:g} together")
        scale = max(total, 1.0)
        return cls(tuple((text, prob / scale) for text, prob in tokens), max(0.0, 1.0 - total))


class Answer(NamedTuple):
    """One answer that an endpoint gave."""

    text: str
    is_whole: bool
    """Whether it ended by itself; else it was cut."""
    steps: tuple[tuple[str, Next], ...] | None
    """Each of its tokens, and what could have stood there; None: not given."""


def answers(reply: Reply) -> list[Answer]:
    """The answers of a reply.

    Raises:
        EndpointError: It is none that is known.
    """
    try:
        if not reply["choices"]:
            raise ValueError("no choices")
        return [_answer(choice) for choice in reply["choices"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        shown = str(reply)[:_MOST_SHOWN]
        raise EndpointError(
            f"a reply has another form than OpenAI's ({error!r}): {shown}. Is this an "
            "OpenAI-compatible endpoint, and the right api for it?"
        ) from error


def _answer(choice: Mapping[str, Any]) -> Answer:
    message = choice.get("message")
    text = choice["text"] if message is None else message["content"]
    logprobs = choice.get("logprobs")
    return Answer(
        text or "",
        choice.get("finish_reason") == "stop",
        None if logprobs is None else tuple(_steps(logprobs)),
    )


def _steps(logprobs: Mapping[str, Any]) -> list[tuple[str, Next]]:
    if "content" in logprobs:
        return [_chat_step(place) for place in logprobs["content"] or ()]
    tokens, tops = logprobs["tokens"], logprobs["top_logprobs"] or ()
    steps = []
    for token, own, top in zip(tokens, logprobs["token_logprobs"], tops, strict=True):
        # Pieces of characters have one text, so pairs: a dict would lose all but one of them
        pairs = [(_text(text), math.exp(value)) for text, value in top.items()]
        steps.append((_text(token), _with_own(pairs, _text(token), own)))
    return steps


def _chat_step(place: Mapping[str, Any]) -> tuple[str, Next]:
    token = _chat_text(place)
    top = [(_chat_text(other), math.exp(other["logprob"])) for other in place["top_logprobs"]]
    return token, _with_own(top, token, place["logprob"])


def _with_own(top: list[tuple[str, float]], token: str, logprob: float | None) -> Next:
    """The top tokens, and the chosen one, which may not be among them."""
    if logprob is not None and all(text != token for text, _ in top):
        top.append((token, math.exp(logprob)))
    return Next.of(top)


def _chat_text(place: Mapping[str, Any]) -> str:
    # A piece of a character has no text of its own, but bytes
    raw = place.get("bytes")
    return bytes(raw).decode(errors="replace") if raw else place["token"]


def _text(token: str) -> str:
    if not token.startswith(_BYTES):
        return token
    written = token.removeprefix(_BYTES).encode("latin-1", errors="replace")
    return written.decode("unicode_escape").encode("latin-1").decode(errors="replace")
