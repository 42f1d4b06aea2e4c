"""Targets on words of the model's own."""

from collections import Counter

import pytest
import torch

import distmatch as dm
from distmatch.data.vocabulary import stem, word_pool
from distmatch.errors import ConfigError, DataError
from distmatch.own_words import CHOICES, OwnWordTargets
from distmatch.search import LikelyAnswers, distinct_words
from tests.tiny import tiny_model, tiny_tokenizer

SAID = [
    LikelyAnswers({"Owl": 0.4, '"Owl".': 0.1, "Fox": 0.2, "owls": 0.05, "two words": 0.04}, 0.1),
    LikelyAnswers({"Owl": 0.5, "Elk": 0.2, "Fox": 0.1}, 0.1),
    LikelyAnswers({"Owl": 0.6, "7": 0.2}, 0.1),
]


@pytest.fixture
def says(monkeypatch):
    """A model that is likely to say some words."""
    monkeypatch.setattr("distmatch.own_words.likely_answers", lambda *_, **__: SAID)
    monkeypatch.setattr("distmatch.own_words.model_encoder", lambda *_: None)


def words(choice, n=3, seed=0):
    targets = OwnWordTargets(tokenizer=tiny_tokenizer(), choice=choice)
    return [example.target.words for example in targets.draw(torch.nn.Identity(), n, seed)]


def test_spellings_and_inflections_are_one_word():
    together = distinct_words(SAID[0].probs)
    assert [word for word, _ in together] == ["Owl", "Fox", "two words"]
    assert together[0][1] == pytest.approx(0.55)


def test_the_models_best_two_words_are_taken_though_they_are_always_the_same(says):
    first, second, third = words("best")
    assert (first, second) == (("Owl", "Fox"), ("Owl", "Elk"))
    assert third[0] == "Owl" and third[1] in word_pool("rare")


def test_no_word_is_taken_for_two_prompts(says):
    first, second, third = words("distinct")
    assert first == ("Owl", "Fox") and second[0] == "Elk"
    assert {second[1], *third} <= set(word_pool("rare"))


def test_nor_is_a_word_that_is_drawn(monkeypatch):
    nothing = [LikelyAnswers({}, 1.0)] * 200
    monkeypatch.setattr("distmatch.own_words.likely_answers", lambda *_, **__: nothing)
    monkeypatch.setattr("distmatch.own_words.model_encoder", lambda *_: None)
    taken = [stem(word) for pair in words("distinct", n=200) for word in pair]
    assert len(set(taken)) == 400
    few = OwnWordTargets(tokenizer=tiny_tokenizer(), choice="distinct", pool=("ash", "elm", "oak"))
    with pytest.raises(ConfigError, match="3 words for 2 prompts"):
        few.draw(torch.nn.Identity(), 2)


def test_the_system_message_can_be_left_out():
    targets = OwnWordTargets(tokenizer=tiny_tokenizer(), choice="sampled", system=False)
    assert all(len(e.prompt) == 1 for e in targets.draw(torch.nn.Identity(), 3))


def test_sampled_words_are_rare_and_others_for_every_prompt():
    pairs = words("sampled", n=60)
    assert {word for pair in pairs for word in pair} <= set(word_pool("rare"))
    assert max(Counter(pairs).values()) == 1 and all(stem(a) != stem(b) for a, b in pairs)
    assert pairs == words("sampled", n=60) != words("sampled", n=60, seed=1)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_trainer_makes_its_targets_anew(choice, tmp_path):
    model, tokenizer = tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()
    targets = OwnWordTargets(tokenizer=tokenizer, choice=choice)
    examples = targets.draw(model, 4)
    asked = {max(e.target.probs) for e in examples}
    assert len(asked) > 1 and all(e.target.probs[0] >= 0.5 for e in examples)
    trainer = dm.DistributionTrainer(
        model=model,
        processing_class=tokenizer,
        args=dm.DistributionConfig(
            output_dir=str(tmp_path / "run"),
            max_steps=3,
            per_device_train_batch_size=2,
            refresh_steps=2,
            save_strategy="no",
        ),
        peft_config=dm.lora("all", rank=2),
        train_dataset=examples,
        refresh=targets,
    )
    trainer.train()
    fresh = trainer.train_examples
    assert len(fresh) == 4
    assert not {e.metadata["seed"] for e in fresh} & {e.metadata["seed"] for e in examples}


def test_an_unknown_choice_is_refused():
    with pytest.raises(ConfigError, match='choice of words "bst"'):
        OwnWordTargets(tokenizer=tiny_tokenizer(), choice="bst")


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("pool", [(), ("ash",), ("owl", "owls"), ("Hope", "hoped", "hoping")])
def test_a_pool_without_two_words_is_refused_and_not_drawn_from_for_ever(choice, pool):
    with pytest.raises(DataError, match=r"the pool \[.*\] has no two words .*: give more words"):
        OwnWordTargets(tokenizer=tiny_tokenizer(), choice=choice, pool=pool)


def test_two_words_are_enough_though_one_begins_the_other(says):
    for choice in ("best", "sampled"):
        targets = OwnWordTargets(
            tokenizer=tiny_tokenizer(), choice=choice, pool=("fox", "foxglove")
        )
        for example in targets.draw(torch.nn.Identity(), 3):
            assert len(set(map(stem, example.target.words))) == 2
