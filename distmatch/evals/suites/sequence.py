"""Sequences: does control reach past the first word, and does it last along a list?

Answers of two and three words are asked for with a joint distribution; beside the usual metrics
there is how far their first words alone are off, whatever follows them. Lists are followed along
words that the model itself has said: each next word is drawn from what it gives to the two that
are asked for.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from distmatch.data.examples import Example, plain_prompt
from distmatch.data.tasks.sequence import MOST_STEPS, WORDINGS, Sequences, first_word, next_step
from distmatch.evals.items import Answers
from distmatch.evals.subject import Subject

_PER_KIND = 40
_STEPS = {1: "step 1", 2: "step 2", 3: "steps 3-4", 4: "steps 3-4"}


def measure(subject: Subject) -> Answers:
    """The model's answers to `examples`, and to each place of lists that it goes on with."""
    asked = examples(subject.seed)
    lists = [example for example in asked if example.metadata["kind"] == "steps"]
    whole = [example for example in asked if example.metadata["kind"] != "steps"]
    steps = list(_followed(subject, lists))
    answers = subject.answers([*whole, *steps], "sequence")
    known_of_each = answers.said or ({},) * len(answers)  # what an endpoint leaves open
    num_lists = len(lists)
    clusters = [f"answer {i}" for i in range(len(whole))]
    clusters += [f"list {i % num_lists}" for i in range(len(steps))]
    begun = [lists[i % num_lists].prompt for i in range(len(steps))]
    firsts = subject.answers(map(first_word, whole), "sequence: first words").ratios["tvd"]
    without = np.zeros(len(steps))
    off, counts = (np.concatenate([part, without]) for part in firsts)
    return replace(
        answers,
        ratios={**answers.ratios, "first_tvd": (off, counts)},
        clusters=tuple(clusters),
        # As every model is asked; what it has said is its own
        prompts=(*answers.prompts[: len(whole)], *map(plain_prompt, begun)),
        said=tuple(
            {**known, "before": _before(example)}
            for known, example in zip(known_of_each, [*whole, *steps], strict=True)
        ),
    )


def examples(seed: int = 0) -> list[Example]:
    """The suite's examples, 40 of each kind; of lists their beginnings.

    Args:
        seed: Decides all that is drawn; no word of it is one of training data of the same seed.
    """
    found = []
    for kind in WORDINGS:
        _, drawn = Sequences(kinds=(kind,)).draw(1, _PER_KIND * MOST_STEPS * 4, seed)
        at_first = (row for row in drawn if row.metadata.get("step", 1) == 1)
        for row in islice(at_first, _PER_KIND):
            found.append(replace(row, metadata={**row.metadata, "group": kind}))
    return found


def _followed(subject: Subject, lists: list[Example]) -> Iterator[Example]:
    """The first place of every list, then the second of every list, and so on."""
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
