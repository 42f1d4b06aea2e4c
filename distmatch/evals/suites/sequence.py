"""Sequences: does control reach past the first word, and does it last along a list?

Answers of two and three words are asked for with a joint distribution; beside the usual metrics
there is how far their first words alone are off, whatever follows them. Lists are followed along
words that the model itself has said: each next word is drawn from what it gives to the two that
are asked for.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar

import numpy as np

from distmatch.data.examples import Example, plain_prompt
from distmatch.data.tasks.sequence import MOST_STEPS, WORDINGS, Sequences, first_word, next_step
from distmatch.evals.items import Answers
from distmatch.evals.metric import WORD_METRICS, Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suite import Suite

_STEPS = {1: "step 1", 2: "step 2", 3: "steps 3-4", 4: "steps 3-4"}


@dataclass(frozen=True, kw_only=True)
class Sequential(Suite):
    """The suite `sequence`."""

    name: ClassVar[str] = "sequence"
    question: ClassVar[str] = "Does control reach past the first word, and does it last?"
    metrics: ClassVar[tuple[Metric, ...]] = (
        *WORD_METRICS,
        Metric("first_tvd", "the same of an answer's first word alone"),
    )
    per_kind: int = 40
    """Examples of each kind of sequence; of lists their beginnings."""

    def items(self, subject: Subject) -> Answers:
        """The subject's answers to `examples`, and to each place of lists that it goes on with."""
        asked = self.examples(subject.seed)
        lists = [example for example in asked if example.metadata["kind"] == "steps"]
        whole = [example for example in asked if example.metadata["kind"] != "steps"]
        steps = list(followed_lists(subject, lists))
        answers = subject.answers([*whole, *steps], self.name)
        firsts = subject.answers(map(first_word, whole), f"{self.name}: first words").ratios["tvd"]
        without = np.zeros(len(steps))
        off, counts = (np.concatenate([part, without]) for part in firsts)
        places = [i % len(lists) for i in range(len(steps))]
        known_of_each = answers.said or ({},) * len(answers)  # what an endpoint leaves open
        return replace(
            answers,
            ratios={**answers.ratios, "first_tvd": (off, counts)},
            clusters=(
                *(f"answer {i}" for i in range(len(whole))),
                *(f"list {i}" for i in places),
            ),
            # As every model is asked; what it has said is its own
            prompts=(
                *answers.prompts[: len(whole)],
                *(plain_prompt(lists[i].prompt) for i in places),
            ),
            said=tuple(
                {**known, "before": _before(example)}
                for known, example in zip(known_of_each, [*whole, *steps], strict=True)
            ),
        )

    def examples(self, seed: int = 0) -> list[Example]:
        """What is asked.

        Args:
            seed: Decides all that is drawn; no word of it is one of training data of that seed.
        """
        found = []
        for kind in WORDINGS:
            _, drawn = Sequences(kinds=(kind,)).draw(1, self.per_kind * MOST_STEPS * 4, seed)
            at_first = (row for row in drawn if row.metadata.get("step", 1) == 1)
            for row in islice(at_first, self.per_kind):
                found.append(replace(row, metadata={**row.metadata, "group": kind}))
        return found


def followed_lists(subject: Subject, lists: list[Example]) -> Iterator[Example]:
    """The first place of every list, then the second of every list, and so on.

    Args:
        subject: What it gives to the words of a place decides how its list goes on.
        lists: At their beginnings.
    """
    rng = random.Random(f"{subject.seed}/said")
    for step in range(1, MOST_STEPS + 1):
        group = _STEPS.get(step, f"steps 5-{MOST_STEPS}")
        lists = [replace(row, metadata={**row.metadata, "group": group}) for row in lists]
        yield from lists
        if step == MOST_STEPS:
            return
        given = subject.answers(lists, f"sequence: word {step}").given
        lists = [
            # Where neither word can be told to have been said, either is as good
            next_step(
                row, rng.choices(row.target.words, probs if np.isfinite(probs[0]) else None)[0]
            )
            for row, probs in zip(lists, given.tolist(), strict=True)
        ]


def _before(example: Example) -> str:
    """What has been said of a list; nothing of a whole answer."""
    message = example.prompt[-1]
    assert not isinstance(message, str)
    return message["content"] if message["role"] == "assistant" else ""
