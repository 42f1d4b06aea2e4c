"""What each suite asks, and what it measures."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.tasks.numbers import KINDS, Numbers
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.vocabulary import word_classes, word_pool
from distmatch.errors import ConfigError
from distmatch.evals import evaluate
from distmatch.evals.subject import LocalModel
from distmatch.evals.suites import given, numbers
from distmatch.losses.divergences import wasserstein1
from distmatch.measuring.metrics import METRICS
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def tiny():
    return tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()


def groups(examples):
    return Counter(example.metadata["group"] for example in examples)


def test_given_asks_for_words_of_every_number_kind_and_class():
    counts = groups(given.examples())
    wanted = {"2 words", "5 words", "decimal", "odds", "long words", "extremes", "rare", "phrases"}
    assert wanted | set(word_classes()[1:]) <= set(counts)
    assert set(counts.values()) == {40}


def test_given_words_are_held_out_of_training_data_of_any_pool():
    examples = given.examples(seed=3)
    asked = {word for example in examples for word in example.target.words}
    pools = [(*word_pool(), *word_pool("rare")), *(word_pool(name) for name in word_classes())]
    for pool in pools:
        train = OutputControl(words=(2,), pool=pool).draw(200, 0, 3)[0]
        assert not asked & {word for example in train for word in example.target.words}


def test_no_question_is_asked_twice():
    prompts = [str(example.prompt) for example in given.examples()]
    assert len(set(prompts)) == len(prompts)


def test_a_model_without_a_template_is_not_asked_for_words_it_cannot_end(tiny, monkeypatch):
    few = [e for e in given.examples() if e.metadata["group"] in ("japanese", "german")][::20]
    monkeypatch.setattr(given, "examples", lambda seed: few)
    model, tokenizer = tiny[0], tiny_tokenizer()
    tokenizer.chat_template = None
    report = evaluate(model, tokenizer, suites=["given"], num_resamples=5, progress=False)
    assert list(report["given"].groups()) == ["german"]


def test_a_template_that_takes_no_system_message_has_it_before_the_question(tiny):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}"
        "{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    subject = LocalModel(model=tiny[0], tokenizer=tokenizer, progress=False)
    (example,) = given.examples()[:1]
    system, user = example.prompt
    folded = {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}
    by_hand = replace(example, prompt=(folded,), rotations=())
    answers = subject.answers([replace(example, rotations=()), by_hand], "")
    assert answers.prompts == ([dict(system), dict(user)], [folded])  # as they were meant
    assert (answers.probs[0] == answers.probs[1]).all()


def test_extremes_are_extreme():
    rare = [e for e in given.examples() if e.metadata["group"] == "extremes"]
    assert min(max(example.target.probs) for example in rare) >= 0.95


def test_numbers_asks_for_every_kind_and_nothing_twice():
    examples = numbers.examples()
    assert len(examples) >= 200 and set(groups(examples)) == set(KINDS)
    assert len({example.prompt[-1]["content"] for example in examples}) == len(examples)
    trained = {e.metadata["setting"] for e in Numbers().draw(5000, 0)[0]}
    assert not trained & {example.metadata["setting"] for example in examples}


def test_numbers_has_the_distance_where_outcomes_have_an_order(tiny, monkeypatch):
    few = numbers.examples()[::9]
    monkeypatch.setattr(numbers, "examples", lambda seed: few)
    report = evaluate(*tiny, suites=["numbers"], num_resamples=20, progress=False)["numbers"]
    assert tuple(report.metrics) == (*METRICS, "wasserstein1")
    for row in report.rows():
        given = torch.tensor([*row["given_over_words"], 0.0], dtype=torch.float64)
        asked = torch.tensor([*row["asked_over_words"], 0.0], dtype=torch.float64)
        expected = wasserstein1(given.log(), asked).item()
        if row["metadata"]["is_ordinal"]:
            assert row["wasserstein1"] == pytest.approx(expected, abs=1e-5)
        else:
            assert row["wasserstein1"] is None


def test_a_suite_is_a_report_by_groups(tiny, monkeypatch):
    few = [
        Example(
            prompt="red or blue:",
            target=WordDistribution(("red", "blue"), (p, 1 - p)),
            metadata={"group": name},
        )
        for p, name in ((0.1, "low"), (0.2, "low"), (0.7, "high"))
    ]
    monkeypatch.setattr(given, "examples", lambda seed: few)
    report = evaluate(*tiny, suites=["given"], num_resamples=20, progress=False)["given"]
    assert {name: part.num_examples for name, part in report.groups().items()} == {
        "low": 2,
        "high": 1,
    }
    lines = report.group_table().splitlines()
    assert lines[0].split()[:2] == ["group", "items"]
    assert [line.split()[:2] for line in lines[2:]] == [["low", "2"], ["high", "1"], ["all", "3"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["gven"], 'unknown suite "gven"; known: given.*mean "given"'),
        ([], "suites is empty"),
        ("given", r'the string "given": give a list, \["given"\]'),
    ],
)
def test_suites_that_cannot_be_run_are_refused(tiny, names, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(*tiny, suites=names)
