"""Likely answers against exact scores and against every answer there is."""

import math

import pytest
import torch

from distmatch.errors import ConfigError, DataError
from distmatch.scoring import model_encoder, next_log_probs, score
from distmatch.search import likely_answers
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def tiny():
    model, tokenizer = tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(3)  # some answers are likely
    return model, tokenizer, model_encoder(model, tokenizer)


def test_next_tokens_are_those_of_each_sequence_alone(tiny):
    model, _, _ = tiny
    sequences = [(5, 9, 40), (5, 9), (5, 9, 40, 77), (3,), (5, 9, 41)]
    together = torch.cat(list(next_log_probs(model, sequences, batch_size=2)))
    with torch.no_grad():
        alone = [model(torch.tensor([s])).logits[0, -1].log_softmax(-1) for s in sequences]
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-4)


def test_answers_have_their_exact_probabilities_and_all_sums_to_one(tiny):
    model, tokenizer, encoder = tiny
    (found,) = likely_answers(model, encoder, ["The red fox"], most_opened=300)
    assert math.fsum(found.probs.values()) + found.unexplored == pytest.approx(1, abs=1e-4)
    assert list(found.probs.values()) == sorted(found.probs.values(), reverse=True)
    checked = 0
    for text, prob in list(found.probs.items())[:60]:
        try:
            scores = score(model, tokenizer, "The red fox", [text], forms=("space", "bare"))
        except DataError:  # nothing that can be written after the prompt
            continue
        exact = scores.log_probs.exp().item()
        assert exact <= prob * (1 + 1e-3)  # the text may have other spellings
        checked += prob == pytest.approx(exact, rel=1e-3)
    assert checked >= 5


def test_more_places_leave_less_unexplored_and_take_nothing_back(tiny):
    model, _, encoder = tiny
    few, many = (
        likely_answers(model, encoder, ["The red fox"], unexplored=0.01, most_opened=n)[0]
        for n in (50, 500)
    )
    assert few.unexplored > many.unexplored
    assert all(prob <= many.probs[text] * (1 + 1e-6) for text, prob in few.probs.items())


@pytest.mark.embedded
def test_a_real_model_is_likely_to_answer_what_it_writes(embedded):
    model, tokenizer = embedded
    encoder = model_encoder(model, tokenizer)
    (plain,) = likely_answers(model, encoder, ["The capital of France is"], most_opened=60)
    assert next(iter(plain.probs)) == "Paris"
    exact = score(model, tokenizer, "The capital of France is", ["Paris"]).log_probs.exp().item()
    assert plain.probs["Paris"] == pytest.approx(exact, rel=0.05)  # rarely spelled otherwise


@pytest.mark.embedded
def test_chat_answers_end_with_the_turn(embedded):
    model, tokenizer = embedded
    prompt = [{"role": "user", "content": "Answer with one word: is snow white?"}]
    (found,) = likely_answers(model, model_encoder(model, tokenizer), [prompt], most_opened=80)
    likely = [text for text in found.probs if text][:5]
    exact = score(model, tokenizer, prompt, likely).log_probs.exp().tolist()
    assert exact == pytest.approx([found.probs[text] for text in likely], rel=0.05)
    assert math.fsum(found.probs.values()) + found.unexplored == pytest.approx(1, abs=1e-3)


def test_prompts_do_not_disturb_each_other(tiny):
    model, _, encoder = tiny
    prompts = ["The red fox", "A cat saw", "The red fox saw"]
    settings = {"unexplored": 0.5, "most_opened": 100}
    together = likely_answers(model, encoder, prompts, **settings)
    for prompt, found in zip(prompts, together, strict=True):
        (alone,) = likely_answers(model, encoder, [prompt], **settings)
        assert list(found.probs.items())[:10] == [
            (text, pytest.approx(prob, rel=1e-3)) for text, prob in list(alone.probs.items())[:10]
        ]


@pytest.mark.parametrize("limits", [{"unexplored": 0.0}, {"most_opened": 0}])
def test_limits_that_cannot_be_kept_are_refused(tiny, limits):
    model, _, encoder = tiny
    with pytest.raises(ConfigError, match="expected a number between 0 and 1"):
        likely_answers(model, encoder, ["The"], **limits)
