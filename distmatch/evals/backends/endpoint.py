"""A model behind an OpenAI-compatible URL: how it is asked, and its answers to examples."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from tqdm.auto import tqdm

from distmatch.data.examples import Example, Prompt
from distmatch.errors import BudgetError, ConfigError, DataError, EndpointError, converted
from distmatch.evals.asking import check_resolved
from distmatch.evals.backends.answering import bounded_answers
from distmatch.evals.backends.bounds import Bounds
from distmatch.evals.backends.client import OPENAI, Client, Limits, check_url
from distmatch.evals.backends.measuring import followed, sampled, walked
from distmatch.evals.backends.questions import Place, Question
from distmatch.evals.backends.replies import Answer, Next, answers
from distmatch.evals.items import Answers

_T = TypeVar("_T")
_U = TypeVar("_U")

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
"""Where each api is, behind an endpoint's URL."""

_MOST_AT_ONCE = 128  # answers to a request, as OpenAI has it
_TEMPLATE = "chat_template_kwargs"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model at an OpenAI-compatible URL, which `evaluate` takes in the place of a local one.

    A word's probability is bounded by the next tokens' probabilities, followed to the word's end:
    token by token where an answer that is begun can be continued, else along answers drawn.
    Without log-probabilities the answers drawn are counted.

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

    def subject(self, *, seed: int, progress: bool) -> "EndpointSubject":
        """It, as suites ask it."""
        return EndpointSubject(self, seed, progress)

    def settings(self) -> dict[str, Any]:
        """What the answers depend on, as plain JSON."""
        names = ("model", "url", "api", "top_k", "samples", "continues")
        return {**{name: getattr(self, name) for name in names}, "extra": dict(self.extra)}

    @cached_property
    def client(self) -> Client:
        """What sends its requests, made when first used."""
        cache = None if self.cache is None else Path(self.cache)
        return Client(self.url, PATHS[self.api], self.key_env, self.limits, cache)

    @property
    def follows(self) -> bool:
        """Whether next tokens can be asked for after any beginning of an answer."""
        return self.api == "completions" or self.continues


@dataclass(frozen=True)
class EndpointSubject:
    """An endpoint, as suites ask it; the end of a word completes it."""

    endpoint: Endpoint
    seed: int
    progress: bool
    ends_turns: bool = False

    def answers(self, examples: Iterable[Example], name: str) -> Answers:
        """What it answers, with a progress bar of this name.

        Raises:
            DataError: Examples that can't be asked, each with its number.
            ConfigError: An answer is begun that the endpoint doesn't continue.
            EndpointError: No reply, or none that can be read; what was answered is kept.
            BudgetError: The limits are reached; what was answered is kept.
        """
        examples = list(examples)
        if not examples:
            raise DataError("there are no examples to evaluate: give at least one")
        check_resolved(examples)
        rotations = [(i, r) for i, example in enumerate(examples) for r in example.rotated()]
        questions = [
            *converted(examples, self._question, "row"),
            *converted([example for _, example in rotations], self._question, "rotation"),
        ]
        measured = self._each(questions, self._measured, name)
        return bounded_answers(examples, measured, [i for i, _ in rotations])

    def first_tokens(
        self, prompts: Sequence[Prompt], k: int, name: str
    ) -> list[list[tuple[str, float]]]:
        """The likeliest first tokens of an answer to each prompt: texts and probabilities.

        Args:
            prompts: Texts or messages.
            k: How many of each.
            name: What the progress bar is called.

        Raises:
            ConfigError: The endpoint isn't asked for as many next tokens, or doesn't continue an
                answer that is begun.
            DataError: Prompts that can't be asked, each with its number.
            EndpointError: No reply, or none that can be read.
            BudgetError: The limits are reached.
        """
        if self.endpoint.top_k < k:
            raise ConfigError(
                f"the likeliest {k} first tokens are asked for, and top_k is "
                f"{self.endpoint.top_k}: this needs an endpoint that gives {k} (top_k={k})"
            )
        places = converted(prompts, self._place, "prompt")
        found = self._each(places, lambda place: self._next(place, ""), name)
        return [sorted(tokens, key=lambda x: -x[1])[:k] for tokens, _ in found]

    def _question(self, example: Example) -> Question:
        question = Question.of(example, as_text=self.endpoint.api == "completions")
        self._check(question.place)
        return question

    def _place(self, prompt: Prompt) -> Place:
        place = Place.of(prompt, as_text=self.endpoint.api == "completions")
        self._check(place)
        return place

    def _check(self, place: Place) -> None:
        if place.is_begun and not self.endpoint.continues:
            raise ConfigError(
                f"an answer is begun ({place.slot.text[-40:]!r}), and this chat isn't said to "
                "continue one: give continues=True if it does (--continues), or take "
                'api="completions"'
            )
        extra = self._template_extra
        if both := [name for name, value in place.told.items() if extra.get(name, value) != value]:
            raise ConfigError(
                f"an example's chat_template_kwargs and those of extra differ in {both}: give "
                "each in one place"
            )

    @property
    def _template_extra(self) -> Mapping[str, Any]:
        told = self.endpoint.extra.get(_TEMPLATE)
        return told if isinstance(told, Mapping) else {}

    def _measured(self, question: Question) -> Bounds:
        """What bounds the probabilities of a question's words."""
        if not self.endpoint.top_k:
            return sampled(question, self._drawn(question.place, "", question.longest))
        if self.endpoint.follows:
            return followed(question, lambda text: self._after(question, text))
        drawn = self._drawn(question.place, "", question.longest)
        return followed(question, walked(drawn, len(question.spellings)))

    def _after(self, question: Question, text: str) -> Next | None:
        if not question.place.keeps(text):
            return None
        return self._next(question.place, text, len(question.spellings))

    def _next(self, place: Place, text: str, places: int = 1) -> Next:
        """What may follow a beginning of an answer.

        An answer that ends at once may say nothing of what else could have stood there. Then more
        are drawn: one that doesn't end shows it, and else their number bounds it, at this one of
        so many places.
        """
        seen = self._asked(place, text)
        if not any(answer.steps for answer in seen):
            seen = self._drawn(place, text)
        found = walked(seen, places)("")
        if found is None:
            raise EndpointError(f"{self.endpoint.url} answered nothing after {text!r}, not an end")
        return found

    def _drawn(self, place: Place, text: str, max_tokens: int = 1) -> list[Answer]:
        """As many answers as the endpoint is to draw, in as few requests as it takes."""
        drawn: list[Answer] = []
        wanted = self.endpoint.samples
        while len(drawn) < wanted:
            some = min(wanted - len(drawn), _MOST_AT_ONCE)
            drawn += self._asked(place, text, max_tokens, some, len(drawn))[:some]
        return drawn

    def _asked(
        self, place: Place, text: str, max_tokens: int = 1, count: int = 1, draw: int = 0
    ) -> list[Answer]:
        """Answers from one request; another `draw` gives others."""
        endpoint = self.endpoint
        length = "max_tokens"
        if endpoint.url.rstrip("/") == OPENAI and endpoint.api == "chat":
            length = "max_completion_tokens"  # its newer models refuse the other name
        body = {
            "model": endpoint.model,
            **place.body(text),
            **{length: max_tokens, "temperature": 1.0, "top_p": 1.0, "n": count},
            **self._logprobs(),
            **endpoint.extra,
        }
        if self._template_extra:
            body[_TEMPLATE] = {**place.told, **self._template_extra}
        body = {"seed": _seed(self.seed, body, draw), **body}
        said = {name: value for name, value in body.items() if value is not None}
        return endpoint.client.ask(said, self._read, draw)

    def _logprobs(self) -> dict[str, Any]:
        top_k = self.endpoint.top_k
        if not top_k:
            return {}
        if self.endpoint.api == "completions":
            return {"logprobs": top_k}
        return {"logprobs": True, "top_logprobs": top_k}

    def _read(self, reply: dict[str, Any]) -> list[Answer]:
        read = answers(reply, self.endpoint.client.shown)
        if self.endpoint.top_k and any(
            answer.steps is None and (answer.text or not answer.is_whole) for answer in read
        ):
            raise EndpointError(
                f'{self.endpoint.url} gives no log-probabilities for "{self.endpoint.model}": '
                "count answers instead (top_k=0 and samples=100, --top-k 0 --samples 100)"
            )
        return read

    def _each(self, asked: Sequence[_T], ask: Callable[[_T], _U], name: str) -> list[_U]:
        """What asking gives, several at once, in their order."""
        client = self.endpoint.client
        with (
            ThreadPoolExecutor(self.endpoint.limits.parallel) as pool,
            tqdm(total=len(asked), desc=name, leave=False, disable=not self.progress) as bar,
        ):
            futures = [pool.submit(ask, one) for one in asked]
            try:
                for future in as_completed(futures):
                    future.result()
                    bar.update()
            except (BudgetError, EndpointError) as error:
                pool.shutdown(cancel_futures=True)
                done = sum(not f.cancelled() and f.exception() is None for f in futures)
                told = f"{error} ({done} of {len(asked)} prompts are answered; {client.kept})"
                raise type(error)(told) from error
            finally:
                pool.shutdown(cancel_futures=True)
        return [future.result() for future in futures]


def _seed(seed: int, body: Mapping[str, Any], draw: int) -> int:
    """Another one for every request, since with the same random numbers errors would repeat."""
    asked = json.dumps([seed, body, draw], sort_keys=True)
    return int.from_bytes(hashlib.sha256(asked.encode()).digest()[:4], "big") >> 1
