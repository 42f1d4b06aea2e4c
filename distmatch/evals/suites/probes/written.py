"""Answers of its own, scored by rules."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from distmatch.data.examples import Message, Prompt, plain_prompt
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suites.probes.probe import OWN, REFERENT, VALID, Probe, Probs, Question


@dataclass(frozen=True, kw_only=True)
class WrittenProbe(Probe):
    """The share of written answers that each rule finds its pattern in; drawn, so not exact."""

    rules: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions by name; capitals don't matter. The first one's share is the headline."""
    n: int = 20
    """Answers to each paraphrase."""
    length: int = 40
    """The most tokens of an answer."""

    def __post_init__(self) -> None:
        """See `Probe`.

        Raises:
            ConfigError: No rules, one that is no regular expression, or a reader or thoughts, which
                need answers out of a closed set.
        """
        super().__post_init__()
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
        if self.reader or self.thinking:
            raise ConfigError(
                f"{self.name} is written freely: leave out reader and thinking, or ask by words"
            )

    @property
    def figures(self) -> tuple[Metric, ...]:
        """The share of each rule."""
        return tuple(Metric(name, "share of written answers") for name in self.rules)

    @property
    def needs(self) -> frozenset[Capability]:
        """Writing."""
        return frozenset({Capability.WRITING})

    @property
    def draws_text(self) -> bool:
        """It does."""
        return True

    def questions(self, text: str) -> tuple[Question, ...]:
        """Not asked so."""
        raise NotImplementedError

    def measured(self, probs: Sequence[Probs]) -> dict[str, float]:
        """Not measured so."""
        raise NotImplementedError

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
        said: list[Message] = [{"role": "user", "content": text}]
        if self.system:
            said.insert(0, {"role": "system", "content": self.system})
        if self.begun:
            said.append({"role": "assistant", "content": self.begun})
        return said

    def _found(self, text: str) -> list[bool]:
        return [bool(re.search(rule, text, re.IGNORECASE)) for rule in self.rules.values()]
