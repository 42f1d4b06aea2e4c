"""Retention on kept states: the numbers of both models run whole, for one run of the base."""

import peft
import pytest
import torch

from distmatch.data.batching import make_batch
from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.trie import Encoder
from distmatch.losses import retention
from distmatch.measuring.drift import mean_text_kl, text_kl
from distmatch.measuring.kept_base import KeptBase
from distmatch.models.attaching import attach_lora
from distmatch.models.lora import lora
from distmatch.scoring import logits_and_text_states, row_logits
from tests.architectures import ARCHITECTURES, architecture
from tests.tiny import FAMILIES, randomise_adapter, tiny_model, tiny_tokenizer

ENCODER = Encoder(tiny_tokenizer())
TEXTS = ENCODER.encode_texts(
    ["The red fox saw a dog.", "The red cat is blue, or so the word says.", "a dog and a cat"]
)


def adapted(model, target=None):
    model = attach_lora(model, target or lora("all", rank=4), seed=0)
    randomise_adapter(model, 0.05)
    return model


def outcome(model, kl):
    """Values, and gradients of a sum that weighs them differently."""
    model.zero_grad()
    values = kl()
    (values * torch.linspace(1, 2, len(values))).sum().backward()
    grads = {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}
    return values.detach(), grads


def close(found, wanted, relative=1e-5):
    for mine, theirs in ((found[0], wanted[0]), *((found[1][n], wanted[1][n]) for n in wanted[1])):
        assert (mine - theirs).norm() <= relative * max(theirs.norm(), 0.1)
    assert set(found[1]) == set(wanted[1])


def base_forwards(model):
    """How many forwards have been without the adapter, from now on."""
    seen = []
    block = model.get_base_model().model.layers[0].self_attn
    block.register_forward_hook(lambda *_: seen.append(block.q_proj.disable_adapters))
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_both_models_whole(family, monkeypatch):
    monkeypatch.setattr(retention, "CHUNK_BYTES", 4 * 320 * 4)  # four rows
    model = adapted(tiny_model(family))
    kept = KeptBase(TEXTS)
    wanted = outcome(model, lambda: text_kl(model, TEXTS))
    for _ in range(2):
        close(outcome(model, lambda: kept.text_kl(model, TEXTS)), wanted)
    assert kept._is_separable
    some = [TEXTS[2], TEXTS[0]]
    close(
        outcome(model, lambda: kept.text_kl(model, some)),
        outcome(model, lambda: text_kl(model, some)),
    )


@pytest.mark.parametrize("pack_tokens", [30, 512])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_forward_with_examples_gives_the_same(family, pack_tokens):
    model, kept = adapted(tiny_model(family)), KeptBase(TEXTS)
    words = WordDistribution.normalised({"red": 1, "otter": 2})
    prompts = ("The red fox saw a", "A dog and")
    tries = ENCODER.encode_all([Example(prompt=p, target=words) for p in prompts])
    alone = row_logits(model, make_batch(tries, ENCODER, pack_tokens))
    batch = make_batch(tries, ENCODER, pack_tokens, texts=TEXTS)
    logits, _ = logits_and_text_states(model, batch)
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-4)

    def together():
        _, states = logits_and_text_states(model, batch)
        return kept.kl_of_states(model, TEXTS, states)

    close(outcome(model, together), outcome(model, lambda: text_kl(model, TEXTS)), 2e-5)


def test_in_float64_they_are_so_to_the_last_digits(monkeypatch):
    monkeypatch.setattr(retention, "CHUNK_BYTES", 4 * 320 * 4)
    model = adapted(tiny_model("llama")).double()
    wanted = outcome(model, lambda: text_kl(model, TEXTS))
    close(outcome(model, lambda: KeptBase(TEXTS).text_kl(model, TEXTS)), wanted, 1e-12)


@pytest.mark.parametrize("name", ["cohere2", "granite", "olmo2", "gpt_neox", "opt", "rwkv"])
def test_so_they_are_of_models_of_other_making(name):
    assert name in ARCHITECTURES
    model = adapted(architecture(name), peft.LoraConfig(r=2, target_modules="all-linear"))
    wanted = outcome(model, lambda: text_kl(model, TEXTS))
    close(outcome(model, lambda: KeptBase(TEXTS).text_kl(model, TEXTS)), wanted)


def test_the_base_runs_once_for_each_text():
    model = adapted(tiny_model("llama"))
    kept = KeptBase(TEXTS)
    kept.text_kl(model, TEXTS[:2])
    seen = base_forwards(model)
    kept.text_kl(model, TEXTS[:2])
    assert seen == [False]
    kept.mean_text_kl(model, TEXTS, batch_size=8)
    assert seen == [False, False, True]
    with torch.autocast("cpu", torch.bfloat16):  # other states
        kept.text_kl(model, TEXTS[:1])
        kept.text_kl(model, TEXTS[:1])
    assert seen[3:] == [False, True, False]
    kept.mean_text_kl(model, TEXTS, batch_size=8)
    assert seen[6:] == [False]


def test_states_of_a_precision_are_those_of_that_precision():
    model = adapted(tiny_model("llama"))
    kept = KeptBase(TEXTS)
    with torch.autocast("cpu", torch.bfloat16):
        wanted = text_kl(model, TEXTS)
        # In another order sums in bfloat16 are others
        torch.testing.assert_close(kept.text_kl(model, TEXTS), wanted, rtol=0.05, atol=5e-3)
    close(
        outcome(model, lambda: kept.text_kl(model, TEXTS)),
        outcome(model, lambda: text_kl(model, TEXTS)),
    )


def test_states_are_the_same_to_the_bit_in_any_order():
    model = adapted(tiny_model("llama"))
    values = []
    for order in (TEXTS, TEXTS[::-1]):
        kept = KeptBase(TEXTS)
        for text in order:
            kept.text_kl(model, [text])
        values.append(kept.text_kl(model, TEXTS))
    assert torch.equal(*values)


def test_states_beyond_memory_go_to_a_file_that_leaves_nothing(tmp_path):
    model = adapted(tiny_model("llama"))
    mapped, held = KeptBase(TEXTS, folder=tmp_path, most_bytes=100), KeptBase(TEXTS)
    for _ in range(2):
        assert torch.equal(mapped.text_kl(model, TEXTS), held.text_kl(model, TEXTS))
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_learns_has_its_gradient():
    model = adapted(tiny_model("llama"), peft.LoraConfig(r=2, target_modules=["q_proj", "lm_head"]))
    wanted = outcome(model, lambda: text_kl(model, TEXTS))
    assert any("lm_head" in name for name in wanted[1])
    close(outcome(model, lambda: KeptBase(TEXTS).text_kl(model, TEXTS)), wanted)


def test_an_adapted_head_that_does_not_learn_is_not_taken_for_the_bases():
    model = adapted(
        tiny_model("llama"), peft.LoraConfig(r=2, target_modules=["q_proj", "lm_head"])
    ).requires_grad_(False)
    with torch.no_grad():
        found, wanted = KeptBase(TEXTS).text_kl(model, TEXTS), text_kl(model, TEXTS)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_means_are_those_of_both_models_whole(batch_size):
    model = adapted(tiny_model("llama")).train()
    found = KeptBase(TEXTS).mean_text_kl(model, TEXTS, batch_size=batch_size)
    assert found == pytest.approx(mean_text_kl(model, TEXTS, batch_size=8), rel=1e-5)
    assert model.training
    assert KeptBase([]).mean_text_kl(model, [], batch_size=batch_size) == 0.0
