"""Continuations of one prompt: that they differ, and which word each is."""

import pytest
import torch
from continuations import count_words, longest_answer, sample_repeatedly

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.scoring import model_encoder
from tests.tiny import tiny_model, tiny_tokenizer

PROMPT = (5, 9, 13)


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")


@pytest.fixture(scope="module")
def encoder(model):
    return model_encoder(model, tiny_tokenizer())


def test_continuations_of_one_prompt_are_all_different_and_the_seeds(model):
    texts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        texts.append(sample_repeatedly(model, PROMPT, 8, 5))
    assert texts[0] == texts[1] != texts[2]
    assert len(set(texts[0])) == 8 and {len(tokens) for tokens in texts[0]} <= {5, 1, 2, 3, 4}


def test_continuations_are_counted_token_by_token(encoder):
    target = WordDistribution(("ox", "foxes"), (0.5, 0.5))
    trie = encoder.encode(Example(prompt="A", target=target))
    ((ox,), (foxes,)) = trie.paths
    assert trie.boundary == "end_of_word" and longest_answer(trie) == len(foxes) + 1
    (space,) = encoder.tokenizer(" ", add_special_tokens=False)["input_ids"]
    (letter,) = encoder.tokenizer("z", add_special_tokens=False)["input_ids"]
    seen = [(*ox, space), (*ox, letter), ox, (*foxes, space), (*foxes[:-1], space), (letter,)]
    assert count_words(seen, trie, encoder) == [1, 1, 4]
    first = encoder.encode(Example(prompt="A", target=target, boundary="none"))
    assert longest_answer(first) == len(foxes)
    assert count_words(seen, first, encoder) == [3, 1, 2]


def test_the_model_keeps_its_mode(model):
    model.train()
    sample_repeatedly(model, PROMPT, 2, 1)
    assert model.training
    model.eval()
