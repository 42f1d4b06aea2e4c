"""What the suite of control carried over asks."""

from collections import Counter

import pytest

from distmatch.data import BroadControl, split_words, word_pool
from distmatch.errors import DataError
from distmatch.evals import LocalModel, measure
from distmatch.evals.suites import SUITES, CarryOver
from tests.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def asked():
    return CarryOver(per_group=30).examples(seed=3)


def test_branches_trained_on_and_held_out_wordings_and_requests_by_hand_are_asked(asked):
    counts = Counter(example.metadata["group"] for example in asked)
    branches = ("order: after", "order: list_after", "place: earlier", "ask: json")
    apart = dict.fromkeys(branches, 30)
    assert counts == {"branches trained on": 30, **apart, "wordings": 30, "by hand": 40}
    for example in asked:
        branch = example.metadata.get("branch", "trained")
        assert branch == (example.metadata["group"] if branch in branches else "trained")


def test_no_word_is_one_of_training_data(asked):
    held_out = set(split_words(word_pool(), seed=3)[1])
    assert {word for example in asked for word in example.target.words} <= held_out
    train = BroadControl().draw(300, 0, seed=3)[0]
    assert not held_out & {word for example in train for word in example.target.words}


def test_words_may_be_of_another_class_held_out_as_well():
    held_out = set(split_words(word_pool("rare"), seed=3)[1])
    asked = CarryOver(per_group=3, pool="rare").examples(seed=3)
    assert {word for example in asked for word in example.target.words} <= held_out
    with pytest.raises(DataError, match='unknown word class "rarest"'):
        CarryOver(pool="rarest").check()


@pytest.mark.parametrize("chat", [True, False])
def test_a_model_is_measured_on_every_group(tiny, chat):
    subject = LocalModel(model=tiny[0], tokenizer=tiny_tokenizer(chat=chat), progress=False)
    report = measure(subject, CarryOver(per_group=2), num_resamples=5)
    groups = report.groups()
    assert next(iter(groups)) == "branches trained on" and len(groups) == 7
    assert 0 <= report.metrics["control_tvd"].mean <= 1
    assert "carry_over" in SUITES
