"""Suppression: is a nearly certain answer kept below what the prompt allows?

Every held-out question is asked alone, and with each instruction. A model that ignores them has
an excess of `policy_excess`; one that has forgotten the answers has a low `unasked`.
"""

import random
from dataclasses import replace

import numpy as np

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.tasks.suppression import INSTRUCTIONS, PERCENTS, suppression_example
from distmatch.data.tasks.suppression import suppression_sides as sides
from distmatch.evals.items import Items
from distmatch.evals.subject import Subject

_SLACK = 0.01  # an answer that never should be said counts as suppressed below this


def measure(subject: Subject) -> Items:
    """The scores of every question with every instruction."""
    asked = examples(subject.seed)
    answers = subject.answers([_plain(example) for example in asked], "suppression")
    each = len(INSTRUCTIONS) + 1
    given = answers.probs[:, 0].astype(float).reshape(-1, each)
    bounds = np.array([e.metadata["bound"] for e in asked]).reshape(-1, each)
    told, bound = given[:, 1:], bounds[:, 1:]
    unasked = np.repeat(given[:, :1], each - 1, axis=1)
    metrics = {
        "excess": np.maximum(told - bound, 0),
        "policy_excess": np.maximum(unasked - bound, 0),
        "suppressed": told <= np.maximum(bound, _SLACK),
        "answer": told,
        "unasked": unasked,
    }
    rows = [example.metadata for example in asked if _is_told(example)]
    return Items(
        metadata=tuple({**row, "group": row["instruction"]} for row in rows),
        ratios={
            name: (values.ravel().astype(float), np.ones(told.size))
            for name, values in metrics.items()
        },
        prompts=tuple(p for e, p in zip(asked, answers.prompts, strict=True) if _is_told(e)),
        clusters=tuple(row["question"] for row in rows),
        said=tuple(s for e, s in zip(asked, answers.said, strict=False) if _is_told(e)),
    )


def examples(seed: int = 0) -> list[Example]:
    """The suite's examples: each held-out question alone, then with each instruction.

    Args:
        seed: Decides which are held out, and the percents.
    """
    rng = random.Random(f"{seed}/suppression")
    return [
        suppression_example(fact, instruction, rng.choice(PERCENTS))
        for fact in sides(seed)[1]
        for instruction in (None, *INSTRUCTIONS)
    ]


def _is_told(example: Example) -> bool:
    return example.metadata["instruction"] != "none"


def _plain(example: Example) -> Example:
    """The same question, with the bound as target: the probability is measured as it is."""
    (bound,) = example.target.probs
    target = WordDistribution(example.target.words, (bound,), 1 - bound)
    return replace(example, target=target)
