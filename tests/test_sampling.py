"""Texts sampled from a model: the model's own, whatever stands beside them in the batch."""

import pytest
import torch

from distmatch.sampling import sample_tokens
from tests.tiny import tiny_model, tiny_tokenizer

PROMPTS = [(40, 41, 42, 43, 44, 45), (50,), (60, 61, 62)]


@pytest.fixture
def model():
    return tiny_model("llama")


def test_a_model_that_is_sure_writes_what_its_own_forward_says(model):
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1000)
        model.get_output_embeddings().weight[:3] = 0  # no end
    written = sample_tokens(model, tiny_tokenizer(), PROMPTS, 5)
    for prompt, tokens in zip(PROMPTS, written, strict=True):
        ids = list(prompt)
        for _ in range(5):
            with torch.no_grad():
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert tokens == tuple(ids[len(prompt) :])


def test_texts_end_at_special_tokens_or_are_cut_off(model):
    torch.manual_seed(0)
    written = sample_tokens(model, tiny_tokenizer(), PROMPTS * 30, 30)
    lengths = [len(tokens) for tokens in written]
    assert not any(token < 3 for tokens in written for token in tokens)
    assert max(lengths) == 30 > min(lengths)


def test_texts_are_the_seeds_and_the_model_keeps_its_mode(model):
    model.train()
    texts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        texts.append(sample_tokens(model, tiny_tokenizer(), PROMPTS, 5))
    assert texts[0] == texts[1] != texts[2]
    assert model.training
