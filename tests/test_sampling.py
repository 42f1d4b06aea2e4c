"""Continuations: where they end, and that batches don't matter."""

from collections import Counter

import pytest
import torch

from distmatch import sampling
from distmatch.errors import DivergedError
from distmatch.models.attaching import attach_lora
from distmatch.models.lora import lora
from distmatch.sampling import sample_tokens
from distmatch.scoring import next_log_probs
from tests.tiny import tiny_model

PROMPTS = [(5, 9, 13), (7, 8), (21, 30, 40, 41, 42)]


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")


def test_first_tokens_come_as_often_as_the_model_says(model):
    """Left padding must not be read: the shorter prompts are padded."""
    torch.manual_seed(0)
    written = sample_tokens(model, PROMPTS * 300, {2}, max_tokens=1, batch_size=128)
    rows = torch.cat([*next_log_probs(model, PROMPTS)]).exp()
    for number, probs in enumerate(rows):
        counts = Counter(tokens[0] if tokens else 2 for tokens in written[number::3])
        top = probs.topk(20)
        share = sum(counts[token] for token in top.indices.tolist()) / 300
        expected = top.values.sum().item()
        assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 300) ** 0.5)


def test_a_model_that_is_sure_writes_what_its_own_forward_says():
    model = tiny_model("llama")
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1000)
        model.get_output_embeddings().weight[:3] = 0  # no end
    written = sample_tokens(model, PROMPTS, {0, 1, 2}, max_tokens=5)
    for prompt, tokens in zip(PROMPTS, written, strict=True):
        ids = list(prompt)
        for _ in range(5):
            with torch.no_grad():
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert tokens == tuple(ids[len(prompt) :])


def test_a_models_own_settings_for_writing_are_left_aside():
    model = tiny_model("llama")
    torch.manual_seed(0)
    plain = sample_tokens(model, PROMPTS, {2}, max_tokens=4)
    model.generation_config.min_p = 0.9
    model.generation_config.no_repeat_ngram_size = 1
    model.generation_config.suppress_tokens = list(range(100, 300))
    model.generation_config.typical_p = 0.1
    torch.manual_seed(0)
    assert sample_tokens(model, PROMPTS, {2}, max_tokens=4) == plain


def test_a_continuation_ends_before_what_ends_it(model):
    torch.manual_seed(0)
    ends = set(range(0, 320, 4))
    written = sample_tokens(model, PROMPTS * 20, ends, max_tokens=6, batch_size=7)
    assert len(written) == 60 and {len(tokens) for tokens in written} >= {0, 1, 2, 6}
    assert not any(ends & set(tokens) for tokens in written)


def written_and_steps(model, **settings):
    """What is written, three prompts at once, and how many forwards that took."""
    steps = []
    hook = model.register_forward_hook(lambda *_: steps.append(1))
    torch.manual_seed(0)
    written = sample_tokens(model, PROMPTS, set(range(0, 320, 40)), max_tokens=40, **settings)
    hook.remove()
    return written, len(steps)


def test_a_continuation_that_is_done_stops_and_leaves_those_beside_it_alone(model):
    whole, _ = written_and_steps(model)
    asked = []

    def first_and_last(row, tokens):
        asked.append((row, tokens))
        return row != 1 and len(tokens) >= 8

    written, _ = written_and_steps(model, is_done=first_and_last)
    assert written == [whole[0][:8], whole[1], whole[2][:8]]
    assert len(whole[0]) > 8 < len(whole[2]) and {row for row, _ in asked} == {0, 1, 2}
    assert all(tokens == whole[row][: len(tokens)] for row, tokens in asked)


def test_a_batch_ends_when_all_its_rows_are_done(model):
    written, steps = written_and_steps(model, is_done=lambda row, tokens: len(tokens) > row)
    assert steps == 4 and {len(tokens) for tokens in written} <= {0, 1, 2, 3, 4}
    assert written_and_steps(model, is_done=lambda *_: False) == written_and_steps(model)


def test_rows_are_numbered_over_all_batches(model):
    seen = set()
    sample_tokens(
        model,
        PROMPTS * 2,
        {2},
        max_tokens=4,
        batch_size=4,
        is_done=lambda row, tokens: seen.add(row) or False,
    )
    assert len(seen) >= 5 and seen <= set(range(6)) and seen & {4, 5}


def test_the_model_keeps_its_mode(model):
    model.train()
    sample_tokens(model, PROMPTS, {2}, max_tokens=1)
    assert model.training
    model.eval()


@pytest.mark.parametrize("name", ["lora_A", "norm.weight"])
def test_a_model_that_is_not_finite_is_refused_with_the_weight(name):
    model = attach_lora(tiny_model("llama"), lora("all", rank=2))
    with torch.no_grad():
        wrong = [weight for key, weight in model.named_parameters() if name in key]
        wrong[-1].view(-1)[0] = torch.nan
    with pytest.raises(DivergedError, match=f"weights hold NaN or infinity.*{name}"):
        sample_tokens(model, [(5, 6, 7)], {2}, max_tokens=2)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss", "qwen3", "gpt2"])
def test_a_prompt_that_is_repeated_is_read_once_and_goes_on_as_it_would(family):
    model = tiny_model(family)
    prompts = [prompt for prompt in PROMPTS for _ in range(6)]
    read = []
    model.get_input_embeddings().register_forward_hook(
        lambda _, ids, __: read.append(ids[0].numel())
    )

    def drawn():
        read.clear()
        torch.manual_seed(0)
        return sample_tokens(model, prompts, {2}, max_tokens=8, batch_size=18)

    sample_tokens(model, prompts[:2], {2}, max_tokens=1)  # its way of running is found here
    shared = drawn()
    assert read[:2] == [3 * 4, 18]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_shared_states", lambda *_: None)
        apart = drawn()
        assert read[0] == 18 * 5
    assert shared == apart and len({*shared}) > 12


def test_a_model_that_asks_for_a_cache_of_its_own_gets_it():
    model = tiny_model("llama")
    model.generation_config.cache_implementation = "static"
    assert len(sample_tokens(model, PROMPTS[:1] * 4, {2}, max_tokens=3)) == 4
