"""A model behind an OpenAI-compatible URL, as suites ask it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from distmatch.data.examples import Example, Prompt
from distmatch.errors import ConfigError, converted
from distmatch.evals.backends.bounded_answers import bounded_answers
from distmatch.evals.backends.bounds import Bounds
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
            for nothing.
    """

    beneath: "Endpoint | None" = None
    """The same model without its adapter, where a server has both."""

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
        assert self.beneath is not None
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

        A token that isn't among those shown has the rank `most`; one at a place that can't be asked
        about, such as behind white space in a chat, has 0, as if it were expected.
        """
        self._check_top_k(most)
        places = converted([written.prompt for written, _, _ in spans], self._place, "prompt")
        asked = [
            (place, written.text[: written.ends[k]], written.text[slice(*written.ends[k : k + 2])])
            for place, (written, first, last) in zip(places, spans, strict=True)
            for k in range(first, last)
        ]

        def rank(one: tuple[AnswerPlace, str, str]) -> int:
            place, before, token = one
            if not place.keeps(before):
                return 0
            likeliest = dict(self.next_tokens(place, before).tokens)
            if token not in likeliest:
                return most
            return sum(prob > likeliest[token] for prob in likeliest.values())

        found = iter(self.each(asked, rank, name))
        return [[next(found) for _ in range(first, last)] for _, first, last in spans]

    def write(
        self,
        prompts: Sequence[Prompt],
        max_tokens: Sequence[int],
        is_enough: IsEnough,
        name: str,
    ) -> list[Written]:
        """See `Subject`; texts are always written to their end or length."""
        places = converted(prompts, self._place, "prompt")
        times: Counter[str] = Counter()
        asked = []
        for prompt, place, most in zip(prompts, places, max_tokens, strict=True):
            asked.append((prompt, place, most, times[repr(prompt)]))
            times[repr(prompt)] += 1

        def written(one: tuple[Prompt, AnswerPlace, int, int]) -> Written:
            prompt, place, most, draw = one
            (answer, *_) = self.answers_after(place, "", most, draw=draw)
            text, ends = "", [0]
            for token, _ in answer.steps or ():
                text += token
                ends.append(len(text))
            return Written(prompt, answer.text, tuple(ends), not answer.is_whole)

        return self.each(asked, written, name)

    def num_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Subject`; rather too many: one for every two bytes."""
        return [len(text.encode()) // 2 + 1 for text in texts]

    def _check_top_k(self, k: int) -> None:
        if self.top_k < k:
            raise ConfigError(
                f"the likeliest {k} first tokens are asked for, and top_k is "
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
