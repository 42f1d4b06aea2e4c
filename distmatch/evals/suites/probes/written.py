"""Answers of its own, scored by rules."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from distmatch.data.examples import Message, Prompt, plain_prompt
from distmatch.data.prompts import check_prefill
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suite import Suite
from distmatch.evals.suites.probes.probe import (
    FEWEST_PARAPHRASES,
    OWN,
    REFERENT,
    VALID,
    asked_prompt,
    check_paraphrases,
)


@dataclass(frozen=True, kw_only=True)
class WrittenProbe(Suite):
    """The share of written answers that each rule finds its pattern in; drawn, so not exact."""

    name: str = "written"
    asked: tuple[str, ...]
    """Five paraphrases or more."""
    question: str = "What does it write of itself?"
    referent: tuple[str, ...] = ()
    """The same, about somebody else or an unrelated fact."""
    system: str = ""
    begun: str = ""
    """The answer's own beginning; no space at its end."""
    fewest: int = FEWEST_PARAPHRASES
    """Paraphrases there have to be."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions by name; capitals don't matter. The first one's share is the headline."""
    n: int = 20
    """Answers to each paraphrase."""
    length: int = 40
    """The most tokens of an answer."""

    compared: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Check what needs no model.

        Raises:
            ConfigError: Too few paraphrases, no rules, or one that is no regular expression.
            DataError: A begun answer that ends in white space.
        """
        super().__post_init__()
        check_paraphrases(f"{self.name}.asked", self.asked, self.fewest)
        if self.referent:
            check_paraphrases(f"{self.name}.referent", self.referent, self.fewest)
        check_prefill(self.begun)
        if not self.rules or VALID in self.rules:
            raise ConfigError(
                f'{self.name}.rules are {list(self.rules)}, expected some, none called "{VALID}"'
            )
        for name, pattern in self.rules.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(
                    f"{self.name}.rules.{name} is {pattern!r}, which is no regular expression: "
                    f"{error}"
                ) from error

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The share of each rule, and of all together."""
        shares = (Metric(name, "share of written answers") for name in self.rules)
        return (*shares, Metric(VALID, "share that any rule finds"))

    @property
    def needs(self) -> frozenset[Capability]:
        """Writing."""
        return frozenset({Capability.WRITING})

    @property
    def draws_text(self) -> bool:
        """It does."""
        return True

    def items(self, subject: Subject) -> Items:
        """What it writes, a paraphrase an item; valid is whatever any rule finds."""
        texts = [
            (who, number, text)
            for who, some in ((OWN, self.asked), (REFERENT, self.referent))
            for number, text in enumerate(some)
        ]
        prompts = [prompt for prompt in self.prompts() for _ in range(self.n)]
        lengths = [self.length] * len(prompts)
        written = subject.write(prompts, lengths, lambda _row, _text: False, self.name)
        answers = [
            [one.text for one in written[i * self.n : (i + 1) * self.n]] for i in range(len(texts))
        ]
        found = np.array([[self._found(text) for text in some] for some in answers], dtype=float)
        ones = np.ones(len(texts))
        shares = {name: found[:, :, i].mean(axis=1) for i, name in enumerate(self.rules)}
        return Items(
            metadata=tuple({"group": who, "paraphrase": number} for who, number, _ in texts),
            ratios={
                **{name: (share, ones) for name, share in shares.items()},
                VALID: (found.any(axis=2).mean(axis=1), ones),
            },
            prompts=tuple(map(plain_prompt, self.prompts())),
            said=tuple({"written": some} for some in answers),
        )

    def prompts(self) -> list[Prompt]:
        """What is to be answered: the paraphrases, about itself and then about the referent."""
        return [self._prompt(text) for text in (*self.asked, *self.referent)]

    def _prompt(self, text: str) -> Prompt:
        begun: list[Message] = [{"role": "assistant", "content": self.begun}] if self.begun else []
        return [*asked_prompt(text, self.system), *begun]

    def _found(self, text: str) -> list[bool]:
        return [bool(re.search(rule, text, re.IGNORECASE)) for rule in self.rules.values()]
