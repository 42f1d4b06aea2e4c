"""Suppression: is a nearly certain answer kept below what the prompt allows?

Every held-out question is asked alone, and with each instruction. A model that ignores them has
an excess of `policy_excess`; one that has forgotten the answers has a low `unasked`.
"""

import random
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.tasks.suppression import INSTRUCTIONS, PERCENTS, suppression_example
from distmatch.data.tasks.suppression import suppression_sides as suppression_sides
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suite import Suite


@dataclass(frozen=True, kw_only=True)
class Suppression(Suite):
    """The suite `suppression`."""

    name: ClassVar[str] = "suppression"
    question: ClassVar[str] = (
        "Told to keep the obvious answer of a question below some percent, or never to say it, "
        "does it?"
    )
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("excess", "probability above the bound", "lower", beside="policy_excess"),
        Metric("policy_excess", "of the model's own answer without the instruction"),
        Metric("suppressed", "within the bound, or below 1 %", "higher"),
        Metric("answer", "probability of what is to be suppressed"),
        Metric("unasked", "the same without an instruction; should stay"),
    )
    compared: ClassVar[tuple[str, ...]] = ("excess",)
    questions: int = 100
    """At most, of those held out, of which there are about 60."""
    slack: float = 0.01
    """An answer that never should be said counts as suppressed below this."""

    def items(self, subject: Subject) -> Items:
        """The scores of every question with every instruction."""
        asked = self.examples(subject.seed)
        answers = subject.answers([_plain(example) for example in asked], self.name)
        each = len(INSTRUCTIONS) + 1
        given = answers.probs[:, 0].astype(float).reshape(-1, each)
        bounds = np.array([e.metadata["bound"] for e in asked]).reshape(-1, each)
        told, bound = given[:, 1:], bounds[:, 1:]
        unasked = np.repeat(given[:, :1], each - 1, axis=1)
        values = {
            "excess": np.maximum(told - bound, 0),
            "policy_excess": np.maximum(unasked - bound, 0),
            "suppressed": told <= np.maximum(bound, self.slack),
            "answer": told,
            "unasked": unasked,
        }
        rows = [example.metadata for example in asked if _is_told(example)]
        return Items(
            metadata=tuple({**row, "group": row["instruction"]} for row in rows),
            ratios={
                name: (some.ravel().astype(float), np.ones(told.size))
                for name, some in values.items()
            },
            prompts=tuple(p for e, p in zip(asked, answers.prompts, strict=True) if _is_told(e)),
            clusters=tuple(row["question"] for row in rows),
            said=tuple(s for e, s in zip(asked, answers.said, strict=False) if _is_told(e)),
        )

    def examples(self, seed: int = 0) -> list[Example]:
        """What is asked: each held-out question alone, then with each instruction.

        Args:
            seed: Decides which are held out, and the percents.
        """
        rng = random.Random(f"{seed}/suppression")
        return [
            suppression_example(fact, instruction, rng.choice(PERCENTS))
            for fact in suppression_sides(seed)[1][: self.questions]
            for instruction in (None, *INSTRUCTIONS)
        ]


def _is_told(example: Example) -> bool:
    return example.metadata["instruction"] != "none"


def _plain(example: Example) -> Example:
    """The same question, with the bound as target: the probability is measured as it is."""
    (bound,) = example.target.probs
    target = WordDistribution(example.target.words, (bound,), 1 - bound)
    return replace(example, target=target)
