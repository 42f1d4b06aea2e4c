"""Questions that can be answered behind thoughts: at once, or as the mean of several thoughts."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from distmatch.data.examples import Example
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals.items import Answers
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suite import Suite


@dataclass(frozen=True, kw_only=True)
class BehindThoughts(Suite, ABC):
    """A suite of exact answers whose model may think before each."""

    thinking: str = ""
    """In which of the model's ways it thinks before it answers, such as "low" or "step by step";
    then answers are the mean behind `thoughts`. Empty: it answers at once."""
    thoughts: int = 4
    max_tokens: int = 256
    """Of a thought."""

    @property
    def needs(self) -> frozenset[Capability]:
        """Words' probabilities; of one that thinks its thoughts."""
        also = {Capability.THOUGHTS} if self.thinking else set()
        return frozenset({Capability.WORDS, *also})

    @property
    def draws_text(self) -> bool:
        """Whether it thinks."""
        return bool(self.thinking)

    def probs(
        self, subject: Subject, examples: Sequence[Example]
    ) -> list[Float[np.ndarray, "sides support"]]:
        """Of every word of each example, and of other: at once, or the mean behind thoughts.

        In one row where it is exact, else also the least and the most.

        Args:
            subject: Whoever is asked.
            examples: One or more.

        Raises:
            ConfigError: It doesn't think in that way.
        """
        if not self.thinking:
            return _with_bounds(subject.answers(examples, self.name))
        ways = {way.name: way for way in subject.ways()}
        if self.thinking not in ways:
            raise ConfigError(unknown_name("way of thinking", self.thinking, ways))
        way = ways[self.thinking]
        asked = [(way, way.ask(example)) for example in examples]
        thoughts = subject.think(asked, self.thoughts, lambda _: self.max_tokens, self.name)
        behind = [
            way.behind(example, thought.text)
            for (_, example), some in zip(asked, thoughts, strict=True)
            for thought in some
        ]
        probs = subject.answers(behind, self.name).probs.astype(float)
        ends = np.cumsum([len(some) for some in thoughts])
        return [some.mean(axis=0)[None] for some in np.split(probs, ends[:-1])]


def _with_bounds(answers: Answers) -> list[Float[np.ndarray, "sides support"]]:
    probs = answers.probs.astype(float)
    if not answers.said:
        return [row[None] for row in probs]
    width = probs.shape[1]
    sides = (
        [np.pad(known[side], (0, width - len(known[side]))) for side in ("low", "high")]
        for known in answers.said
    )
    return [np.stack([row, *both]) for row, both in zip(probs, sides, strict=True)]
