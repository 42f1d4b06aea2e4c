"""Mixtures and controls."""

from collections import Counter

import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.mixing import mixture, shuffled
from distmatch.data.tasks import Numbers, OutputControl, Suppression
from distmatch.errors import DataError

TASKS = (OutputControl(), Numbers())


def tasks_of(examples):
    return Counter(example.metadata["task"] for example in examples)


def test_every_task_has_its_share_and_the_one_left_out_is_tested():
    train, test = mixture(TASKS, Suppression(), n=21, n_test=10, seed=1)
    assert tasks_of(train) == {"output_control": 11, "numbers": 10}
    assert tasks_of(test) == {"suppression": 10}
    assert test == mixture(TASKS, Suppression(), n=5, n_test=10, seed=1)[1]
    names = [example.metadata["task"] for example in train]
    assert names != sorted(names) and names != sorted(names, reverse=True)


def test_without_one_left_out_all_are_tested():
    _, test = mixture(TASKS, n=4, n_test=9)
    assert tasks_of(test) == {"output_control": 5, "numbers": 4}


@pytest.mark.parametrize(
    ("tasks", "held_out", "n", "message"),
    [
        ((), None, 5, "0 tasks for 5 rows"),
        (TASKS, None, 1, "2 tasks for 1 rows"),
        (TASKS, Numbers(), 5, "held out and trained on"),
    ],
)
def test_mixtures_that_cannot_be_made_are_refused(tasks, held_out, n, message):
    with pytest.raises(DataError, match=message):
        mixture(tasks, held_out, n=n)


def test_shuffled_targets_are_the_same_targets_elsewhere():
    examples, _ = mixture((OutputControl(), Numbers(), Suppression()), n=300)
    control = shuffled(examples, seed=2)
    assert [e.prompt for e in control] == [e.prompt for e in examples]
    assert [e.target.words for e in control] == [e.target.words for e in examples]

    def targets(rows):
        return Counter((tuple(sorted(e.target.probs)), e.target.other) for e in rows)

    assert targets(control) == targets(examples)
    pairs = [(a, b) for a, b in zip(control, examples, strict=True) if a.target != b.target]
    moved = Counter(b.metadata["task"] for _, b in pairs)
    assert moved["output_control"] > 90 and moved["suppression"] > 50 and moved["numbers"] > 30

    def means(rows, kind):  # of each place: what is learned without reading the settings
        of_kind = [e.target.probs for e in rows if e.metadata.get("kind") == kind]
        return [sum(probs) for probs in zip(*of_kind, strict=True)]

    assert means(control, "coin") == pytest.approx(means(examples, "coin"))
    assert not any(example.rotations for example in control)
    assert shuffled(examples, seed=2) == control != shuffled(examples, seed=3)


def test_tasks_and_kinds_of_any_json_are_told_apart():
    """Lists and objects can't be hashed; equal ones are of one kind."""
    tasks = (["x"], {"a": [1]}, ["x"], {"a": [1]}, None)
    rows = [
        Example(
            prompt="Say one.",
            target=WordDistribution(("red", "blue"), (place / 10, 1 - place / 10)),
            metadata={"task": task},
        )
        for place, task in enumerate(tasks)
    ]
    controls = [[e.target.probs[0] for e in shuffled(rows, seed)] for seed in range(8)]
    assert {frozenset((c[0], c[2])) for c in controls} == {frozenset((0, 0.2))}
    assert {frozenset((c[1], c[3])) for c in controls} == {frozenset((0.1, 0.3))}
    assert len({tuple(c) for c in controls}) > 1
