"""Training sets of several tasks, and controls that can teach everything but the targets."""

import random
from collections.abc import Sequence
from dataclasses import replace

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.jsonl import value_key
from distmatch.data.tasks import Task
from distmatch.errors import DataError


def mixture(
    tasks: Sequence[Task],
    held_out: Task | None = None,
    *,
    n: int = 2000,
    n_test: int = 200,
    seed: int = 0,
) -> tuple[list[Example], list[Example]]:
    """Examples of several tasks in random order, to train on; and of one left out, to test with.

    Args:
        tasks: To train on, each with as many examples.
        held_out: To test with; None: test examples of all tasks alike.
        n: Number of train rows.
        n_test: Number of test rows.
        seed: Decides everything drawn.

    Raises:
        DataError: No tasks, fewer rows than tasks, or a task that is both.
    """
    if not tasks or n < len(tasks):
        raise DataError(f"{len(tasks)} tasks for {n} rows: give one task or more, each with a row")
    if held_out in tasks:
        raise DataError(f"{held_out} is held out and trained on: leave it out of the tasks")
    sides: tuple[list[Example], list[Example]] = ([], [])
    for number, task in enumerate(tasks):
        share = [count // len(tasks) + (number < count % len(tasks)) for count in (n, n_test)]
        drawn = task.draw(share[0], share[1] if held_out is None else 0, seed)
        for side, examples in zip(sides, drawn, strict=True):
            side.extend(examples)
    if held_out is not None:
        sides[1].extend(held_out.draw(1, n_test, seed)[1])
    for name, side in zip(("train", "test"), sides, strict=True):
        random.Random(f"{seed}/mixture/{name}").shuffle(side)
    return sides


def shuffled(examples: Sequence[Example], seed: int = 0) -> list[Example]:
    """The same prompts and words with other examples' targets: a control for training.

    Targets move, as they are, among examples of the same task and kind with as many words and the
    same rule for other. So everything can be learned from them that can be without reading what
    each prompt asks for. There are no rotations.

    Args:
        examples: Of any tasks.
        seed: Decides which goes where.

    Example:
        >>> target = WordDistribution(("a", "b"), (0.9, 0.1))
        >>> other = WordDistribution(("c", "d"), (0.4, 0.6))
        >>> rows = [Example(prompt="x", target=target), Example(prompt="y", target=other)]
        >>> [row.target.words for row in shuffled(rows)]
        [('a', 'b'), ('c', 'd')]
    """
    rng = random.Random(f"{seed}/shuffled")
    alike: dict[tuple[object, ...], list[int]] = {}
    for row, example in enumerate(examples):
        alike.setdefault(_kind(example), []).append(row)
    targets = [example.target for example in examples]
    for rows in alike.values():
        sources = rng.sample(rows, len(rows))
        for row, source in zip(rows, sources, strict=True):
            given = examples[source].target
            targets[row] = WordDistribution(examples[row].target.words, given.probs, given.other)
    return [
        replace(example, target=target, rotations=())
        for example, target in zip(examples, targets, strict=True)
    ]


def _kind(example: Example) -> tuple[object, ...]:
    """What examples have alike whose targets may be exchanged."""
    other = example.target.other
    known = (value_key(example.metadata.get(name)) for name in ("task", "kind"))
    return (*known, len(example.target.words), other if isinstance(other, str) else "a number")
