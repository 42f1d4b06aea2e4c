"""The likeliest first tokens of an answer, whatever they are."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distmatch.data.examples import plain_prompt
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suite import Suite
from distmatch.evals.suites.probes.probe import OWN, asked_prompt


@dataclass(frozen=True, kw_only=True)
class NextTokenProbe(Suite):
    """What an answer begins with; each item keeps its tokens and their exact probabilities."""

    name: str = "next_token"
    asked: tuple[str, ...]
    question: str = "What does its answer begin with?"
    system: str = ""
    top: int = 20
    """How many tokens of each answer are kept."""

    compared: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Check that something is asked.

        Raises:
            ConfigError: Nothing is.
        """
        super().__post_init__()
        if not self.asked:
            raise ConfigError(f"{self.name}.asked is empty: give at least one text")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """How concentrated the answer is."""
        return (
            Metric("likeliest", "probability of the likeliest token"),
            Metric("kept", f"probability of the {self.top} likeliest together"),
            Metric("entropy", "nats, of these renormalised"),
        )

    @property
    def needs(self) -> frozenset[Capability]:
        """The likeliest next tokens."""
        return frozenset({Capability.NEXT_TOKENS})

    def items(self, subject: Subject) -> Items:
        """The tokens of each paraphrase."""
        prompts = [asked_prompt(text, self.system) for text in self.asked]
        tops = subject.first_tokens(prompts, self.top, self.name)
        probs = [np.array([p for _, p in top]) for top in tops]
        ones = np.ones(len(tops))
        values = {
            "likeliest": np.array([p.max() for p in probs]),
            "kept": np.array([p.sum() for p in probs]),
            "entropy": np.array([_entropy(p / p.sum()) for p in probs]),
        }
        return Items(
            metadata=tuple({"group": OWN, "paraphrase": n} for n in range(len(tops))),
            ratios={name: (value, ones) for name, value in values.items()},
            prompts=tuple(map(plain_prompt, prompts)),
            said=tuple({"tokens": [[token, p] for token, p in top]} for top in tops),
        )


def _entropy(probs: np.ndarray) -> float:
    return -math.fsum(p * math.log(p) for p in probs.tolist() if p > 0)
