"""A model behind an OpenAI-compatible URL, as suites ask it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from distmatch.data.examples import Example, Prompt
from distmatch.errors import ConfigError, converted
from distmatch.evals.backends.bounded_answers import bounded_answers
from distmatch.evals.backends.bounds import Bounds
from distmatch.evals.backends.client import Client
from distmatch.evals.backends.questions import AnswerPlace, WordQuestion
from distmatch.evals.backends.replies import Next
from distmatch.evals.backends.requests import Requests
from distmatch.evals.backends.word_bounds import followed, sampled, walked
from distmatch.evals.items import Answers
from distmatch.evals.subject import Capability, IsEnough, Subject, Written, checked_examples


@dataclass(frozen=True, kw_only=True)
class Endpoint(Requests, Subject):
    """A model at an OpenAI-compatible URL; the end of a word completes it.

    A word's probability is bounded by the next tokens' probabilities, followed to the word's end:
    token by token where an answer that is begun can be continued, else along answers drawn.
    Without log-probabilities the answers drawn are counted.

    Raises:
        ConfigError: A URL that isn't one or holds a password, an unknown api, or numbers that ask
            for nothing; or the endpoint beneath is asked in another way.
    """

    beneath: "Endpoint | None" = None
    """The same model without its adapter, where a server has both; asked in the same way."""

    def __post_init__(self) -> None:
        """Check what can be checked without asking."""
        super().__post_init__()
        if self.beneath is None:
            return
        names = ("api", "top_k", "continues")
        if other := [n for n in names if getattr(self, n) != getattr(self.beneath, n)]:
            raise ConfigError(
                f"the endpoint beneath differs in {' and '.join(other)}, and is to be asked as "
                "this one is: give both the same"
            )

    @cached_property
    def client(self) -> Client:
        """What sends its requests, made when first used.

        The endpoint beneath has the same one where nothing tells them apart, so that limits are
        those of both together.
        """
        if self.beneath is not None and self.beneath.reached_by == self.reached_by:
            return self.beneath.client
        return super().client

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Words and writing; next tokens if it gives them; its base if another endpoint is that."""
        found = {Capability.WORDS, Capability.WRITING}
        if self.top_k:
            found.add(Capability.NEXT_TOKENS)
        if self.beneath is not None:
            found.add(Capability.BASE)
        return frozenset(found)

    @property
    def ends_turns(self) -> bool:
        """Never: the end of a word completes it."""
        return False

    def subject(self) -> "Endpoint":
        """Itself: there is nothing to load."""
        return self

    @property
    def batch_size(self) -> None:
        """It doesn't matter."""

    def base(self) -> "Endpoint":
        """The endpoint beneath."""
        if self.beneath is None:
            raise self._lacks(Capability.BASE)
        return self.beneath

    def record(self) -> dict[str, Any]:
        """What its answers depend on, as plain JSON."""
        names = ("model", "url", "api", "top_k", "samples", "continues")
        beneath = {} if self.beneath is None else {"beneath": self.beneath.record()}
        return {n: getattr(self, n) for n in names} | {"extra": dict(self.extra)} | beneath

    def answers(self, examples: Iterable[Example], name: str) -> Answers:
        """See `Subject`.

        Raises:
            DataError: Examples that can't be asked, each with its number.
            ConfigError: An answer is begun that the endpoint doesn't continue.
            EndpointError: No reply, or none that can be read; what was answered is kept.
            BudgetError: The limits are reached; what was answered is kept.
        """
        examples = checked_examples(examples)
        rotations = [(i, r) for i, example in enumerate(examples) for r in example.rotated()]
        questions = [
            *converted(examples, self._question, "row"),
            *converted([example for _, example in rotations], self._question, "rotation"),
        ]
        measured = self.each(questions, self._bounds, name)
        return bounded_answers(examples, measured, [i for i, _ in rotations])

    def first_tokens(
        self, prompts: Sequence[Prompt], k: int, name: str
    ) -> list[list[tuple[str, float]]]:
        """See `Subject`.

        Raises:
            ConfigError: The endpoint isn't asked for as many next tokens, or doesn't continue an
                answer that is begun.
            DataError: Prompts that can't be asked, each with its number.
            EndpointError: No reply, or none that can be read.
            BudgetError: The limits are reached.
        """
        self._check_top_k(k)
        places = converted(prompts, self._place, "prompt")
        found = self.each(places, lambda place: self.next_tokens(place, ""), name)
        return [sorted(tokens, key=lambda x: -x[1])[:k] for tokens, _ in found]

    def ranks(
        self, spans: Sequence[tuple[Written, int, int]], most: int, name: str
    ) -> list[list[int]]:
        """See `Subject`; tokens are told apart by their texts.

        What isn't known counts as expected: a place that can't be asked about, such as behind white
        space in a chat, and a token that isn't shown and may be a piece of a character.

        Raises:
            ConfigError: The endpoint isn't asked for as many next tokens.
            EndpointError: No reply, or none that can be read.
            BudgetError: The limits are reached.
        """
        self._check_top_k(most)
        places = converted([written.prompt for written, _, _ in spans], self._place, "prompt")
        asked = [
            (place, written.text[:start], written.text[start:end])
            for place, (written, first, last) in zip(places, spans, strict=True)
            for start, end in pairwise(written.ends[first : last + 1])
        ]
        found = iter(self.each(asked, lambda one: self._rank(*one, most), name))
        return [[next(found) for _ in range(first, last)] for _, first, last in spans]

    def write(
        self,
        prompts: Sequence[Prompt],
        max_tokens: Sequence[int],
        is_enough: IsEnough,
        name: str,
    ) -> list[Written]:
        """See `Subject`; each text in one request, to its end or length.

        Raises:
            ConfigError: An answer is begun that the endpoint doesn't continue.
            DataError: Prompts that can't be asked, each with its number.
            EndpointError: No reply, or none that can be read.
            BudgetError: The limits are reached.
        """
        places = converted(prompts, self._place, "prompt")
        asked = list(zip(prompts, places, max_tokens, _times_before(prompts), strict=True))
        return self.each(asked, lambda one: self._written(*one), name)

    def num_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Subject`; rather too many: one for every two bytes."""
        return [len(text.encode()) // 2 + 1 for text in texts]

    def _check_top_k(self, k: int) -> None:
        if self.top_k < k:
            raise ConfigError(
                f"the likeliest {k} next tokens are asked for, and top_k is "
                f"{self.top_k}: this needs an endpoint that gives {k} (top_k={k})"
            )

    def _question(self, example: Example) -> WordQuestion:
        question = WordQuestion.of(example, as_text=self.api == "completions")
        self._check(question.place)
        return question

    def _place(self, prompt: Prompt) -> AnswerPlace:
        place = AnswerPlace.of(prompt, as_text=self.api == "completions")
        self._check(place)
        return place

    def _check(self, place: AnswerPlace) -> None:
        if place.is_begun and not self.continues:
            raise ConfigError(
                f"an answer is begun ({place.slot.text[-40:]!r}), and this chat isn't said to "
                "continue one: give continues=True if it does (--continues), or take "
                'api="completions"'
            )
        extra = self.template_extra
        if both := [name for name, value in place.told.items() if extra.get(name, value) != value]:
            raise ConfigError(
                f"an example's chat_template_kwargs and those of extra differ in {both}: give "
                "each in one place"
            )

    def _bounds(self, question: WordQuestion) -> Bounds:
        """What bounds the probabilities of a question's words."""
        if self.top_k and (self.api == "completions" or self.continues):
            return followed(question, lambda text: self._after(question, text))
        drawn = self.drawn_answers(question.place, "", question.longest)
        if not self.top_k:
            return sampled(question, drawn)
        return followed(question, walked(drawn, len(question.spellings)))

    def _after(self, question: WordQuestion, text: str) -> Next | None:
        if not question.place.keeps(text):
            return None
        return self.next_tokens(question.place, text, len(question.spellings))

    def _rank(self, place: AnswerPlace, before: str, token: str, most: int) -> int:
        """How many of the tokens shown behind a text are likelier than one; at most so many."""
        if not place.keeps(before):
            return 0
        shown = self.next_tokens(place, before).tokens
        own = max((prob for text, prob in shown if text == token), default=0.0)
        if not own and not token.isascii():
            return 0
        return min(most, sum(prob > own for _, prob in shown))

    def _written(self, prompt: Prompt, place: AnswerPlace, most: int, draw: int) -> Written:
        answer, *_ = self.answers_after(place, "", most, draw=draw)
        return Written(prompt, answer.text, answer.ends, is_cut=not answer.is_whole)


def _times_before(prompts: Sequence[Prompt]) -> list[int]:
    """How often each prompt stands before its place already."""
    seen: Counter[str] = Counter()
    times = []
    for said in map(repr, prompts):
        times.append(seen[said])
        seen[said] += 1
    return times
