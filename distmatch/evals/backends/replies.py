"""What an endpoint's reply says: whole answers, and what could have stood at each place of them.

Two formats are read: that of chats (`logprobs.content`) and the older one of completions
(`logprobs.top_logprobs`), whichever a reply has.
"""

import math
from codecs import getincrementaldecoder
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from distmatch.errors import EndpointError
from distmatch.evals.backends.cache import Reply

PIECE = "\ufffd"
"""What a token decodes to that ends within a character."""

_BYTES = "bytes:"  # how OpenAI's completions write a token that ends within a character
_ROUNDING = 0.02  # of 16 bits
_MOST_SHOWN = 300
_ENDED = ("stop", "eos", "end")
"""How servers begin to say that an answer ended by itself; some say nothing."""

_PASSING = ("rate", "overload", "server", "timeout", "unavailable", "internal", "busy")
"""Parts of the names of errors that may pass."""

THOUGHTS = (
    *("<think>", "<thinking>", "<thought>", "<|begin_of_thought|>", "<seed:think>", "[THINK]"),
    *("<|channel|>", "<|channel>", "<|START_THINKING|>", "<|inner_prefix|>", "◁think▷"),
)
"""How endpoints write the tokens that begin a thought."""


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


class ReplyAnswer(NamedTuple):
    """One answer that an endpoint gave."""

    text: str
    is_whole: bool
    """Whether it ended by itself; else it was cut."""
    steps: tuple[tuple[str, Next], ...] | None
    """Each of its tokens, and what could have stood there; None: not given. An end has no text."""
    ends: tuple[int, ...] = (0,)
    """Where its text ends before each of its tokens, and after the last. Tokens that make a
    character together count as one, and so do those that can't be told apart."""


class _Step(NamedTuple):
    token: bytes
    prob: float | None
    top: list[tuple[bytes, float]]


class _Choice(NamedTuple):
    text: str
    is_whole: bool
    steps: list[_Step] | None
    thought: str | None
    """What was thought before it, where a server tells that apart."""

    @property
    def said(self) -> str:
        """What its tokens make together."""
        return b"".join(step.token for step in self.steps or ()).decode(errors="replace")

    @property
    def has_thought(self) -> bool:
        """Whether its tokens are those of a thought as well."""
        return bool(self.thought) or begins_thought(self.said)

    @property
    def ends(self) -> tuple[int, ...]:
        """Where its text ends before each of its tokens, and after the last."""
        decoder = getincrementaldecoder("utf-8")(errors="replace")
        said, places = "", {0, len(self.text)}
        for step in self.steps or ():
            said += decoder.decode(step.token)
            is_whole_character = not decoder.getstate()[0]
            if is_whole_character and self.text.startswith(said) and not self.thought:
                places.add(len(said))
        return tuple(sorted(places))

    @property
    def end(self) -> bytes | None:
        """The token that ended it, if it is shown: its text lacks that one alone."""
        if not self.is_whole or not self.steps or self.has_thought:
            return None
        *before, last = [step.token for step in self.steps]
        said = b"".join(before).decode(errors="replace")
        is_end = not last or (PIECE not in said and said.startswith(self.text))
        return last if is_end else None


def begins_thought(text: str) -> bool:
    """Whether an answer that begins so thinks first."""
    return text.lstrip().startswith(THOUGHTS)


def shortened(told: Any) -> str:
    """As much of what somebody said as an error shows."""
    text = " ".join(str(told).split())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def said_error(reply: Any) -> tuple[int | None, Any] | None:
    """The status and reason of an error that a reply holds in place of answers, if it does.

    Proxies send such replies with a status of success. None stands for one that may pass, 400 for
    another that has only a name.
    """
    if not isinstance(reply, dict):
        return None
    choices = reply.get("choices")
    parts = [reply, *(choices if isinstance(choices, list) else ())]
    errors = [part["error"] for part in parts if isinstance(part, dict) and part.get("error")]
    if reply.get("object") == "error":
        errors.append(reply)
    if not errors:
        return None
    told = errors[0] if isinstance(errors[0], dict) else {"message": errors[0]}
    reason = told.get("message", told)
    codes = [str(told[name]).lower() for name in ("code", "status", "type") if told.get(name)]
    for code in codes:
        if code.isdecimal():
            return int(code), reason
    may_pass = not codes or any(sign in code for sign in _PASSING for code in codes)
    return None if may_pass else HTTPStatus.BAD_REQUEST, reason


def reply_answers(reply: Reply, shown: Callable[[Any], str] = shortened) -> list[ReplyAnswer]:
    """The answers of a reply.

    Args:
        reply: An endpoint's.
        shown: What an error shows of it.

    Raises:
        EndpointError: It is none that is known, or its tokens aren't those of its text.
    """
    try:
        if not reply["choices"]:
            raise ValueError("no choices")
        choices = [_choice(choice) for choice in reply["choices"]]
        ends = {choice.end for choice in choices}
        found = [
            ReplyAnswer(choice.text, choice.is_whole, _told_steps(choice, ends), choice.ends)
            for choice in choices
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EndpointError(
            f"a reply has another form than OpenAI's ({shown(repr(error))}): {shown(reply)}. Is "
            "this an OpenAI-compatible endpoint, and the right api for it?"
        ) from error
    for choice in choices:
        _check_tokens(choice, shown)
    return found


def _choice(choice: Mapping[str, Any]) -> _Choice:
    message = choice.get("message")
    text = (choice["text"] if message is None else message["content"]) or ""
    thought = message and (message.get("reasoning_content") or message.get("reasoning"))
    logprobs = choice.get("logprobs")
    steps = None if logprobs is None else _steps(logprobs)
    reason = choice.get("finish_reason")
    is_whole = reason is None or str(reason).lower().startswith(_ENDED)
    return _Choice(text, is_whole, steps, thought)


def _told_steps(choice: _Choice, ends: set[bytes | None]) -> tuple[tuple[str, Next], ...] | None:
    """See `ReplyAnswer`; whatever ended an answer of the reply is an end."""
    steps = choice.steps
    if steps is None:
        return None
    if choice.thought and not begins_thought(choice.said):  # where it began isn't shown
        return (("", Next((), 1.0)),)
    found = []
    for number, step in enumerate(steps, 1):
        is_end = number == len(steps) and choice.end is not None
        token = b"" if step.token in ends else step.token
        found.append((token.decode(errors="replace"), _next(step, ends, is_end)))
    return tuple(found)


def _next(step: _Step, ends: set[bytes | None], is_end: bool) -> Next:
    """What could have stood at a step; what has no text is an end only where an answer ended."""
    top = [*step.top]
    # The chosen token may not be among the likeliest
    if step.prob is not None and all(token != step.token for token, _ in top):
        top.append((step.token, step.prob))
    pairs = [
        ("" if token in ends else token.decode(errors="replace"), prob)
        for token, prob in top
        if token
    ]
    if is_end and not step.token and step.prob is not None:
        pairs.append(("", step.prob))
    return Next.of(pairs)


def _check_tokens(choice: _Choice, shown: Callable[[Any], str]) -> None:
    """Refuse tokens whose places in the text can't be told.

    The text may be shorter, by an end, or by what a server holds back or leaves to thought.
    """
    said = choice.said
    is_unsure = choice.has_thought or PIECE in said + choice.text
    if choice.steps and not is_unsure and not said.startswith(choice.text):
        raise EndpointError(
            f"the tokens of a reply make {shown(repr(said))}, and its text is "
            f"{shown(repr(choice.text))}, so what stands where can't be told: update the server, "
            "or count answers instead (top_k=0 and samples=100, --top-k 0 --samples 100)"
        )


def _steps(logprobs: Mapping[str, Any]) -> list[_Step]:
    if "content" in logprobs:
        return [_chat_step(place) for place in logprobs["content"] or ()]
    tokens, tops = logprobs["tokens"], logprobs["top_logprobs"] or ()
    steps = []
    for token, own, top in zip(tokens, logprobs["token_logprobs"], tops, strict=True):
        prob = None if own is None else math.exp(own)
        # Pieces of characters have one text, so pairs: a dict would lose all but one of them
        pairs = [(_raw(text), math.exp(value)) for text, value in top.items()]
        steps.append(_Step(_raw(token), prob, pairs))
    return steps


def _chat_step(place: Mapping[str, Any]) -> _Step:
    top = [(_chat_raw(other), math.exp(other["logprob"])) for other in place["top_logprobs"]]
    own = place["logprob"]
    return _Step(_chat_raw(place), None if own is None else math.exp(own), top)


def _chat_raw(place: Mapping[str, Any]) -> bytes:
    # A piece of a character has no text of its own, but bytes
    raw = place.get("bytes")
    return bytes(raw) if raw else place["token"].encode(errors="replace")


def _raw(token: str) -> bytes:
    if not token.startswith(_BYTES):
        return token.encode(errors="replace")
    written = token.removeprefix(_BYTES).encode("latin-1", errors="replace")
    return written.decode("unicode_escape").encode("latin-1")
