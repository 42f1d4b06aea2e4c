"""A model whose numbers aren't finite is refused, and where that begins is said."""

import pytest
import torch

import distmatch as dm
from distmatch.data.trie import Encoder
from distmatch.errors import DivergedError
from distmatch.measuring.drift import mean_text_kl
from distmatch.models import attach_lora
from distmatch.scoring import next_log_probs
from tests.tiny import tiny_model, tiny_tokenizer

PROMPT = [{"role": "user", "content": "red or blue?"}]


def with_nan():
    """A model with one weight of its adapter lost."""
    adapted = attach_lora(tiny_model("llama"), dm.lora("attention@2", rank=2))
    weight = dict(adapted.named_parameters())[NAME]
    with torch.no_grad():
        weight[0, 0] = torch.nan
    return adapted


NAME = "base_model.model.model.layers.2.self_attn.q_proj.lora_A.default.weight"


def test_a_lost_weight_is_named_by_all_that_measures():
    model, tokenizer = with_nan(), tiny_tokenizer()
    texts = Encoder(tokenizer).encode_texts(["the cat saw a dog"])
    record = {"prompt": PROMPT, "words": ["red", "blue"], "probs": [0.7, 0.3]}
    for measure in (
        lambda: dm.score(model, tokenizer, PROMPT, ["red"]),
        lambda: dm.evaluate(model, tokenizer, [record]),
        lambda: list(next_log_probs(model, [(1, 2, 3)])),
        lambda: mean_text_kl(model, texts, batch_size=1),
    ):
        with pytest.raises(DivergedError, match=f'1 of the .* the first of them "{NAME}"'):
            measure()


def test_numbers_that_overflow_are_found_where_they_do():
    model = tiny_model("llama", dtype=torch.float16)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.fill_(6e4)
        model.model.layers[1].mlp.up_proj.weight.fill_(6e4)
    with pytest.raises(DivergedError, match=r"in model.layers.1.mlp.up_proj, though .* bfloat16"):
        dm.score(model, tiny_tokenizer(), PROMPT, ["red"])


def test_a_token_that_cannot_be_is_no_fault():
    model = tiny_model("llama")
    dead = torch.tensor([310, 311])
    model.lm_head.register_forward_hook(lambda _m, _i, out: out.index_fill(-1, dead, -torch.inf))
    scores = dm.score(model, tiny_tokenizer(), PROMPT, ["red"])
    assert scores.log_probs.exp().sum() + scores.log_other.exp() == pytest.approx(1, abs=1e-6)
