"""What an endpoint is asked: next tokens and drawn answers, several requests at once."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

from distmatch.errors import BudgetError, ConfigError, EndpointError
from distmatch.evals.backends.client import Client, Limits, check_url
from distmatch.evals.backends.keys import OPENAI, is_openais
from distmatch.evals.backends.questions import AnswerPlace
from distmatch.evals.backends.replies import Next, ReplyAnswer, reply_answers
from distmatch.evals.backends.word_bounds import walked
from distmatch.progress import phase

_T = TypeVar("_T")
_U = TypeVar("_U")

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
"""Where each api is, behind an endpoint's URL."""

TEMPLATE = "chat_template_kwargs"
_MOST_AT_ONCE = 128  # answers to a request, as OpenAI has it


@dataclass(frozen=True, kw_only=True)
class Requests:
    """A model at an OpenAI-compatible URL, and how it is asked.

    Raises:
        ConfigError: A URL that isn't one or holds a password, an unknown api, or numbers that ask
            for nothing.
    """

    model: str
    """By the endpoint's own name."""
    url: str = OPENAI
    """Usually ending in `/v1`."""
    api: str = "chat"
    """`"chat"`, or `"completions"`: plain text, and messages joined by blank lines."""
    top_k: int = 20
    """How many next tokens the endpoint is asked for; 0: it gives none."""
    samples: int = 32
    """How many answers are drawn, at temperature 1, where next tokens can't be asked for."""
    continues: bool = False
    """Of a chat: whether a last message of the assistant's is continued (vLLM, llama.cpp)."""
    key_env: str | None = None
    """The environment variable that holds the key. None: OPENAI_API_KEY for OpenAI's own URL, and
    no key for any other."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What every request says besides, such as `{"reasoning_effort": "none"}`; None leaves out what
    it would say. `chat_template_kwargs` are joined to an example's own."""
    limits: Limits = field(default_factory=Limits)
    """Of all that is asked through this object."""
    cache: str | Path | None = None
    """A JSONL file where replies are kept and found again; None: they are only remembered."""
    seed: int = 0
    """Of what suites draw, and of what the endpoint draws."""
    progress: bool = True
    """With progress bars."""

    def __post_init__(self) -> None:
        """Check what can be checked without asking."""
        check_url(self.url)
        if self.api not in PATHS:
            raise ConfigError(f'api is "{self.api}", expected "chat" or "completions"')
        if self.top_k < 0 or self.samples < 1:
            raise ConfigError(
                f"top_k is {self.top_k} and samples {self.samples}, expected at least 0 and 1"
            )
        if self.extra.get("seed") is not None:
            raise ConfigError(
                f"extra has the seed {self.extra['seed']}, which would draw the same answers again "
                "and again: leave it out (--seed decides), or give None to send none"
            )
        if self.continues and self.api != "chat":
            raise ConfigError("continues is about chats: completions always continue, leave it out")

    @cached_property
    def client(self) -> Client:
        """What sends its requests, made when first used."""
        cache = None if self.cache is None else Path(self.cache)
        return Client(self.url, PATHS[self.api], self.key_env, self.limits, cache)

    @property
    def reached_by(self) -> tuple[Any, ...]:
        """What its client depends on."""
        return self.url, self.api, self.key_env, self.limits, self.cache

    @property
    def template_extra(self) -> Mapping[str, Any]:
        """What every chat template is told besides."""
        told = self.extra.get(TEMPLATE)
        return told if isinstance(told, Mapping) else {}

    def next_tokens(self, place: AnswerPlace, text: str, places: int = 1) -> Next:
        """What may follow a beginning of an answer.

        An answer that ends at once may say nothing of what else could have stood there. Then more
        are drawn: one that doesn't end shows it, and else their number bounds it.

        Args:
            place: Where the answer stands.
            text: Its beginning.
            places: At how many places an end matters, of which this is one.
        """
        seen = self.answers_after(place, text)
        if not any(answer.steps for answer in seen):
            seen = self.drawn_answers(place, text)
        found = walked(seen, places)("")
        if found is None:
            raise EndpointError(f"{self.url} answered nothing after {text!r}, not an end")
        return found

    def drawn_answers(
        self, place: AnswerPlace, text: str, max_tokens: int = 1
    ) -> list[ReplyAnswer]:
        """As many answers as are to be drawn, in as few requests as it takes."""
        drawn: list[ReplyAnswer] = []
        while len(drawn) < self.samples:
            some = min(self.samples - len(drawn), _MOST_AT_ONCE)
            drawn += self.answers_after(place, text, max_tokens, some, len(drawn))[:some]
        return drawn

    def answers_after(
        self, place: AnswerPlace, text: str, max_tokens: int = 1, count: int = 1, draw: int = 0
    ) -> list[ReplyAnswer]:
        """Answers from one request; another `draw` gives others."""
        length = "max_tokens"
        if is_openais(self.url) and self.api == "chat":
            length = "max_completion_tokens"  # its newer models refuse the other name
        body = {
            "model": self.model,
            **place.body(text),
            **{length: max_tokens, "temperature": 1.0, "top_p": 1.0, "n": count},
            **self._logprobs(),
            **self.extra,
        }
        if self.template_extra:
            body[TEMPLATE] = {**place.told, **self.template_extra}
        body = {"seed": _seed(self.seed, body, draw), **body}
        said = {name: value for name, value in body.items() if value is not None}
        return self.client.ask(said, self._read, draw)

    def each(self, asked: Sequence[_T], ask: Callable[[_T], _U], name: str) -> list[_U]:
        """What asking gives, several at once, in their order.

        After an error no more are asked, and what is under way is waited for, as it is paid for;
        not so after an interrupt, whose threads end with the process.
        """
        client = self.client  # made before there are threads
        found: dict[int, _U] = {}
        errors: list[Exception] = []

        def answer(numbered: tuple[int, _T]) -> None:
            if errors:
                return
            number, one = numbered
            try:
                found[number] = ask(one)
            except Exception as error:
                errors.append(error)

        with (
            ThreadPool(self.limits.parallel) as pool,
            phase(name, len(asked), shown=self.progress) as asking,
        ):
            for _ in pool.imap_unordered(answer, enumerate(asked)):
                asking.advance()
        if not errors:
            return [found[number] for number in range(len(asked))]
        error = errors[0]
        if not isinstance(error, BudgetError | EndpointError):
            raise error
        told = f"{error} ({len(found)} of {len(asked)} prompts are answered; {client.kept})"
        raise type(error)(told) from error

    def _logprobs(self) -> dict[str, Any]:
        if not self.top_k:
            return {}
        if self.api == "completions":
            return {"logprobs": self.top_k}
        return {"logprobs": True, "top_logprobs": self.top_k}

    def _read(self, reply: dict[str, Any]) -> list[ReplyAnswer]:
        read = reply_answers(reply, self.client.shown)
        if self.top_k and any(
            answer.steps is None and (answer.text or not answer.is_whole) for answer in read
        ):
            raise EndpointError(
                f'{self.url} gives no log-probabilities for "{self.model}": '
                "count answers instead (top_k=0 and samples=100, --top-k 0 --samples 100)"
            )
        return read


def _seed(seed: int, body: Mapping[str, Any], draw: int) -> int:
    """Another one for every request, since with the same random numbers errors would repeat."""
    asked = json.dumps([seed, body, draw], sort_keys=True)
    return int.from_bytes(hashlib.sha256(asked.encode()).digest()[:4], "big") >> 1
