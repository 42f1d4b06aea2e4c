"""Ordinary behaviour: what has training changed where no control is asked for?

How far an adapted model's next-token distributions are from its base's: after every token of
ordinary texts and chats; where a plain question is answered; where a prompt speaks of words and
percentages without asking for control; and along the base's own answers to both. The base is the
same model with its adapters switched off, so a model without adapters differs in nothing.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distmatch.data.examples import Prompt, plain_prompt
from distmatch.data.ordinary import ordinary_texts
from distmatch.data.tasks.negatives import negatives
from distmatch.data.tasks.suppression import facts
from distmatch.data.vocabulary import word_pool
from distmatch.errors import ConfigError
from distmatch.evals.items import ANSWER, Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Capability, Subject, Written
from distmatch.evals.suite import Suite

FALSE_CONTROL = (
    "In a survey {p}% of the guests liked {a} and {q}% liked {b}. Which was liked more?",
    "The report says that {a} rose by {p}% and {b} fell by {q}%. Summarise it in one sentence.",
    'My notes say "{a}, {p}%; {b}, {q}%". What could they be about?',
    "The label reads: {p}% {a}, {q}% {b}. Is there more of the first?",
    "How would you draw {a} and {b} in a pie chart with {p}% and {q}%?",
    "Yesterday's forecast: {p}% chance of {a}, {q}% of {b}. Who writes such forecasts?",
    "Translate into French: {p}% {a}, {q}% {b}.",
    "Is {p}% of {a} more than {q}% of {b}? Explain.",
)
"""Prompts with words and percentages that ask for something else than control."""
OF_BASE = "base's answers to"
CUT = " [...]"
"""Behind an answer that was cut off."""


@dataclass(frozen=True, kw_only=True)
class Ordinary(Suite):
    """The suite `ordinary`."""

    name: ClassVar[str] = "ordinary"
    question: ClassVar[str] = "Does it still behave as before where no control is asked for?"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("kl", "nats a token from what the base says next", "lower"),
        Metric("slot_tvd", "total variation from the base, at the answer's first token", "lower"),
        Metric("accuracy", "of the next token"),
        Metric("base_accuracy", "of the next token, adapters off"),
    )
    compared: ClassVar[tuple[str, ...]] = ("kl",)
    version: ClassVar[int] = 2
    least: ClassVar[Mapping[str, int]] = {"written": 0, "base_answers": 0}
    questions: int = 200
    """Plain ones, taken evenly from those that `suppression` asks; there are 200."""
    per_template: int = 6
    """Prompts of each of `FALSE_CONTROL`."""
    negatives: int = 24
    """Prompts of the forms that `distmatch.data.negatives` holds out."""
    written: int = 24
    """Of the questions and prompts, taken evenly: what the model answers is kept, to be read."""
    written_tokens: int = 24
    """Where an answer is cut off."""
    base_answers: int = 0
    """To questions, and as many to prompts of `FALSE_CONTROL`, taken evenly: its base's own, drawn
    at temperature 1, before whose every token, and end, it is held against the base."""
    base_answer_tokens: int = 48
    """Where these are cut off."""

    @property
    def needs(self) -> frozenset[Capability]:
        """Whole distributions, of its base too; and to write, if it is to."""
        writes = {Capability.WRITING} if self.draws_text else set()
        return frozenset({Capability.DISTRIBUTIONS, Capability.BASE} | writes)

    @property
    def draws_text(self) -> bool:
        """Whether some answers are written."""
        return self.written > 0 or self.base_answers > 0

    def check(self) -> None:
        """Refuse more questions than there are.

        Raises:
            ConfigError: How many there are.
        """
        if self.questions > (most := len(facts())):
            raise ConfigError(
                f"{self.name}.questions is {self.questions}, expected at most {most}: there are "
                "no more"
            )

    def items(self, subject: Subject) -> Items:
        """The scores of every text, question and prompt."""
        texts = [(kind, text) for kind, some in ordinary_texts().items() for text in some]
        known = facts()
        n = self.questions
        plain = [known[k * len(known) // n].question for k in range(n)]
        asked: list[tuple[str, Prompt]] = [
            ("questions", ({"role": "user", "content": question},)) for question in plain
        ]
        asked += [("false control", prompt) for prompt in self.false_control(subject.seed)]
        held_out = negatives(self.negatives, subject.seed, held_out=True)
        asked += [("negatives held out", prompt) for prompt in held_out]
        whole = [
            (f"{OF_BASE} {group}", answer)
            for group in ("questions", "false control")
            for answer in self._of_base(subject, [p for g, p in asked if g == group], group)
        ]
        rows = subject.drift(
            [text for _, text in texts],
            [prompt for _, prompt in asked],
            self.name,
            [answer for _, answer in whole],
        )
        answered = [(group, _with_answer(answer)) for group, answer in whole]
        places = [*texts, *asked, *answered]
        said: list[dict[str, str]] = []
        if self.written:
            said = self._written(subject, [prompt for _, prompt in asked])
        return Items(
            metadata=tuple(
                {"group": group, "number": number} for number, (group, _) in enumerate(places)
            ),
            ratios={
                metric.name: tuple(
                    np.array([row.get(metric.name, (0, 0)) for row in rows], dtype=float).T
                )
                for metric in self.metrics
            },
            prompts=tuple(plain_prompt(prompt) for _, prompt in places),
            said=(*({} for _ in texts), *said, *({} for _ in answered)) if said else (),
        )

    def _of_base(self, subject: Subject, prompts: Sequence[Prompt], group: str) -> list[Written]:
        """What the base answers to some of the prompts."""
        n = min(self.base_answers, len(prompts))
        if not n:
            return []
        chosen = [prompts[k * len(prompts) // n] for k in range(n)]
        name, most = f"{self.name}: {OF_BASE} {group}", [self.base_answer_tokens] * n
        return subject.base().write(chosen, most, lambda *_: False, name)

    def _written(self, subject: Subject, prompts: Sequence[Prompt]) -> list[dict[str, str]]:
        """Of each prompt what is said of it: an answer, or nothing."""
        n = min(self.written, len(prompts))
        chosen = [k * len(prompts) // n for k in range(n)]
        written = subject.write(
            [prompts[k] for k in chosen], [self.written_tokens] * n, lambda *_: False, self.name
        )
        said: list[dict[str, str]] = [{} for _ in prompts]
        for place, one in zip(chosen, written, strict=True):
            said[place][ANSWER] = one.text + (CUT if one.is_cut else "")
        return said

    def false_control(self, seed: int = 0) -> list[Prompt]:
        """`FALSE_CONTROL` with words and percents.

        Args:
            seed: Decides them.
        """
        rng = random.Random(f"{seed}/false control")
        prompts: list[Prompt] = []
        for template in FALSE_CONTROL:
            for _ in range(self.per_template):
                (a, b), p = rng.sample(word_pool(), 2), rng.randint(1, 99)
                content = template.format(a=a, b=b, p=p, q=100 - p)
                prompts.append(({"role": "user", "content": content},))
        return prompts


def _with_answer(answer: Written) -> Prompt:
    assert not isinstance(answer.prompt, str)
    text = answer.text + (CUT if answer.is_cut else "")
    return (*answer.prompt, {"role": "assistant", "content": text})
