"""Requests to an endpoint: kept, counted, and tried again where that may help."""

import functools
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from distmatch.errors import BudgetError, ConfigError, EndpointError, import_extra
from distmatch.evals.backends.cache import Cache, Reply, request_key
from distmatch.evals.backends.keys import is_openais, read_key
from distmatch.evals.backends.replies import said_error, shortened

_T = TypeVar("_T")

_TRIES = "x-stainless-retry-count"  # where the client writes how often it has tried already
_REMEDIES = {
    400: "check the model's name, and whether it serves what is asked (api, top_k, extra)",
    401: "name the environment variable that holds a valid key (key_env)",
    403: "name the environment variable of a key that may use this model (key_env)",
    404: "check the URL, which usually ends in /v1, and the model's name",
    429: "ask for fewer answers at once (Limits.parallel), or go on later",
}
_PASSING = (408, 409, 425, 429)  # and all from 500 on


@functools.cache
def _certificates() -> Any:
    """What servers are trusted by, read once: it takes longer than a short reply."""
    return import_extra("httpx2", "endpoints").create_ssl_context()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much an endpoint may be asked, and how patiently.

    Raises:
        ConfigError: A number too small to ask anything.
    """

    requests: int | None = None
    """At most so many are sent, each retry being another; what is in the cache costs none. None:
    any number."""
    tokens: int | None = None
    """None is sent once so many, of prompts and answers, are used. None: any number."""
    parallel: int = 8
    """So many requests at once."""
    retries: int = 5
    """Of a request that times out, is cut short, or meets an endpoint that is busy or failing;
    after longer and longer pauses."""
    timeout: float = 60.0
    """Seconds."""

    def __post_init__(self) -> None:
        """Refuse what allows nothing."""
        least = {"requests": 1, "tokens": 1, "parallel": 1, "retries": 0, "timeout": 1e-3}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ConfigError(f"limits: {name} is {value}, expected at least {smallest}")


class _Budget:
    """What may be spent, and what was."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url, self._limits = url, limits
        self._lock = threading.Lock()
        self._requests = self._tokens = 0

    def spend(self) -> None:
        """Count a request that is about to be sent.

        Raises:
            BudgetError: It would be one too many.
        """
        with self._lock:
            for name, spent, most in (
                ("requests", self._requests, self._limits.requests),
                ("tokens", self._tokens, self._limits.tokens),
            ):
                if most is not None and spent >= most:
                    raise BudgetError(
                        f"the limit of {most} {name} is reached: go on with another such, or a "
                        f"higher one (Limits.{name}, --max-{name})"
                    )
            self._requests += 1

    def spend_again(self, request: Any) -> None:
        """The same for what the client is about to try again."""
        if int(request.headers.get(_TRIES, 0)):
            self.spend()

    def use(self, reply: Reply) -> None:
        """Count the tokens that a reply says it took."""
        usage = reply.get("usage") or {}
        used = usage.get("total_tokens") if isinstance(usage, dict) else None
        if used is None and self._limits.tokens is not None:
            raise EndpointError(
                f"{self._url} doesn't say how many tokens it used, so they can't be limited: "
                "limit the requests"
            )
        with self._lock:
            self._tokens += int(used or 0)


class Client:
    """What sends requests to one URL.

    Args:
        base: The endpoint's URL, such as `http://localhost:8000/v1`.
        path: Behind it.
        key_env: The environment variable that holds a key; None: OPENAI_API_KEY for OpenAI's own
            endpoint, and no key for any other.
        limits: What may be spent, from now on.
        cache: Where replies are kept.

    Raises:
        ConfigError: A key that isn't there, or that no header can hold.
        MissingExtraError: The package `openai` isn't installed.
    """

    def __init__(
        self, base: str, path: str, key_env: str | None, limits: Limits, cache: Path | None
    ) -> None:
        self._openai = import_extra("openai", "endpoints")
        httpx = import_extra("httpx2", "endpoints")
        self._broken = httpx.DecodingError
        self.url = base.rstrip("/") + path
        self._path = path
        self._limits = limits
        self._key = read_key(base, key_env)
        self._cache = Cache(cache)
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._budget = _Budget(self.url, limits)
        again = self._budget.spend_again
        hooks = {"request": [again], "response": [partial(_check_whole, self._broken)]}
        http = self._openai.DefaultHttpxClient(
            event_hooks=hooks, timeout=limits.timeout, verify=_certificates()
        )
        self._sender = self._openai.OpenAI(
            base_url=base,
            api_key=self._key.value,
            timeout=limits.timeout,
            max_retries=limits.retries,
            http_client=http,
        )
        if not is_openais(base):
            _forget_openai(self._sender)
        weakref.finalize(self, self._sender.close)

    def ask(self, body: Mapping[str, Any], read: Callable[[Reply], _T], draw: int = 0) -> _T:
        """What is read from the reply to a request; the reply is kept unless it can't be read.

        Who asks for what is being asked already waits for that reply.

        Args:
            body: The request.
            read: What reads a reply.
            draw: Another one gets another reply to the same request.

        Raises:
            BudgetError: It would be one request too many.
            EndpointError: No reply, or one that can't be read.
        """
        key = request_key(self.url, body, draw)
        with self._lock:
            turn = self._turns[key]
        with turn:
            if (kept := self._cache.get(key)) is not None:
                return read(kept)
            self._budget.spend()
            reply = self._key.hidden_in(self._sent(body))
            result = read(reply)
            with self._lock:
                self._cache.keep(key, reply)
            self._budget.use(reply)
            return result

    def shown(self, told: Any) -> str:
        """What somebody said, short enough for a message, and without the key."""
        return shortened(self._key.hidden(str(told)))

    @property
    def kept(self) -> str:
        """Where the replies are, as a sentence."""
        if self._cache.path is None:
            return "nothing is kept without a cache"
        return f"what they took is kept in {self._cache.path}, and asked no more"

    def _sent(self, body: Mapping[str, Any]) -> Reply:
        openai = self._openai
        tries = self._limits.retries + 1
        try:
            reply = self._sender.post(self._path, cast_to=object, body=dict(body))
        except openai.APITimeoutError:
            told = f"no answer within {self._limits.timeout:g} s, {tries} times: allow it more time"
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            if isinstance(cause, self._broken) and isinstance(cause.args[0], tuple):
                told = f"{self._refusal(*cause.args[0])}, {tries} times"
            elif isinstance(cause, self._broken):
                told = f"the reply was cut short or is no JSON, {tries} times: is it an endpoint?"
            else:
                told = f"no connection ({cause}), {tries} times: is it running?"
        except openai.APIStatusError as error:
            told = self._refusal(error.status_code, error.message)
        else:
            if said := said_error(reply):
                told = self._refusal(*said)
            elif isinstance(reply, dict):
                return reply
            else:
                told = f"the reply is no object but {self.shown(reply)}: is it an endpoint?"
        raise EndpointError(f"{self.url}: {self._key.hidden(told)}")

    def _refusal(self, status: int | None, reason: Any) -> str:
        remedy = _REMEDIES.get(status or 0, "go on later")
        return f"refused with {status or 'an error'} ({self.shown(reason)}): {remedy}"


def check_url(url: str) -> None:
    """Refuse what isn't an endpoint's URL.

    Raises:
        ConfigError: It isn't one, or holds a password or a query, where keys might stand.
    """
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is no number
        is_one = False
    if not is_one:
        shown = "..." if "@" in url or "?" in url else url
        raise ConfigError(
            f'the endpoint is "{shown}", expected a URL such as http://localhost:8000/v1'
        )
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            f"the URL of the endpoint at {parts.hostname} holds a user, password or query, which "
            "would be written into caches: put the key into an environment variable (key_env)"
        )


def _forget_openai(sender: Any) -> None:
    """Drop what the client reads from OPENAI_* variables, which may be secrets."""
    sender.admin_api_key = sender.organization = sender.project = None
    sender._custom_headers = {}


def _check_whole(broken: type[Exception], response: Any) -> None:
    """Have the client try again where a reply claims success, and is no JSON or an error.

    It does so after errors of its own alone; this one holds the status and reason that were said.
    """
    if response.status_code == HTTPStatus.OK:
        response.read()
        try:
            reply = response.json()
        except ValueError as error:
            raise broken("no JSON") from error
        said = said_error(reply)
        if said and (said[0] is None or said[0] in _PASSING or said[0] >= 500):
            raise broken(said)
