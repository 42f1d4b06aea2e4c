"""What the suite of given words asks."""

from collections import Counter

import pytest

from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.vocabulary import word_classes, word_pool
from distmatch.evals import LocalModel, measure
from distmatch.evals.suites import Given
from tests.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def asked():
    return Given().examples()


def test_given_asks_for_words_of_every_number_kind_and_class(asked):
    counts = Counter(example.metadata["group"] for example in asked)
    wanted = {"2 words", "5 words", "decimal", "odds", "long words", "extremes", "rare", "phrases"}
    assert wanted | set(word_classes()[1:]) <= set(counts)
    assert set(counts.values()) == {40}


def test_given_words_are_held_out_of_training_data_of_any_pool():
    examples = Given().examples(seed=3)
    asked = {word for example in examples for word in example.target.words}
    pools = [(*word_pool(), *word_pool("rare")), *(word_pool(name) for name in word_classes())]
    for pool in pools:
        train = OutputControl(words=(2,), pool=pool).draw(200, 0, 3)[0]
        assert not asked & {word for example in train for word in example.target.words}


def test_no_question_is_asked_twice(asked):
    prompts = [str(example.prompt) for example in asked]
    assert len(set(prompts)) == len(prompts)


def test_extremes_are_extreme(asked):
    rare = [example for example in asked if example.metadata["group"] == "extremes"]
    assert min(max(example.target.probs) for example in rare) >= 0.95


def test_a_model_without_a_template_is_not_asked_for_words_it_cannot_end(tiny):
    class Foreign(Given):
        def examples(self, seed=0):
            groups = ("japanese", "german")
            return [e for e in super().examples(seed) if e.metadata["group"] in groups]

    subject = LocalModel(model=tiny[0], tokenizer=tiny_tokenizer(chat=False), progress=False)
    report = measure(subject, Foreign(per_group=1), num_resamples=5)
    assert list(report.groups()) == ["german"]
