"""How far a model is from its base, against both models' own forwards."""

import pytest
import torch

from distmatch.data.trie import Encoder
from distmatch.measuring.drift import answer_drift, mean_text_kl, slot_drift, text_drift, text_kl
from distmatch.models.attaching import attach_lora
from distmatch.models.lora import lora
from distmatch.scoring import row_logits
from tests.tiny import randomise_adapter, tiny_model, tiny_tokenizer

ENCODER = Encoder(tiny_tokenizer())
TEXTS = ENCODER.encode_texts(
    ["The red fox saw a dog.", "The red cat is blue, or so the word says.", "a dog and a cat"]
)
SLOTS = [text[:-2] for text in TEXTS]


def adapted_model(**settings):
    model = attach_lora(tiny_model("llama"), lora("all", rank=4, **settings))
    randomise_adapter(model, 0.05)
    return model


@torch.no_grad()
def both(model, ids):
    """Float64 log-probabilities after every token: the model's, and those of its base."""
    model.eval()
    ours = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    with model.disable_adapter():
        return ours, model(torch.tensor([ids])).logits[0].double().log_softmax(-1)


def kl_of(ours, base):
    return (base.exp() * (base - ours)).sum(-1)


def test_the_kl_within_texts_is_that_of_both_models_own_forwards():
    model = adapted_model()
    expected = torch.cat([kl_of(*both(model, text))[:-1] for text in TEXTS])
    torch.testing.assert_close(text_kl(model, TEXTS).double(), expected, atol=1e-5, rtol=1e-4)
    for batch_size in (1, 2, 8):
        mean = mean_text_kl(model, TEXTS, batch_size=batch_size)
        assert mean == pytest.approx(float(expected.mean()), rel=1e-4)


def test_only_the_adapter_has_a_gradient():
    model = adapted_model()
    text_kl(model, TEXTS).sum().backward()
    with_gradient = {n for n, weight in model.named_parameters() if weight.grad is not None}
    assert with_gradient == {n for n, _ in model.named_parameters() if "lora_" in n}


def test_means_are_of_evaluation_mode_which_is_left_as_it_was():
    model = adapted_model(dropout=0.5)
    expected = mean_text_kl(model.eval(), TEXTS, batch_size=8)
    model.train()
    assert mean_text_kl(model, TEXTS, batch_size=8) == expected
    assert text_drift(model, TEXTS)["kl"].value() == pytest.approx(expected, rel=1e-5)
    assert model.training and all(module.training for module in model.modules())


def test_no_texts_are_at_no_distance():
    assert mean_text_kl(adapted_model(), [], batch_size=8) == 0.0


def test_a_text_counts_its_tokens_and_which_of_them_each_model_foresees():
    model = adapted_model()
    drift = text_drift(model, TEXTS)
    assert list(drift) == ["kl", "accuracy", "base_accuracy"]
    for row, text in enumerate(TEXTS):
        ours, base = both(model, text)
        nexts = torch.tensor(text[1:])
        hits = [int((logs[:-1].argmax(-1) == nexts).sum()) for logs in (ours, base)]
        assert [drift[n].numerator[row].item() for n in ("accuracy", "base_accuracy")] == hits
        total = float(kl_of(ours, base)[:-1].sum())
        assert drift["kl"].numerator[row].item() == pytest.approx(total, rel=1e-4)
        assert {int(ratio.denominator[row]) for ratio in drift.values()} == {len(text) - 1}


def test_an_answer_counts_its_own_tokens_alone():
    model = adapted_model()
    parts = [(text[:k], text[k:]) for text, k in zip(TEXTS, (1, 3, 2), strict=True)]
    drift = answer_drift(model, parts)
    for row, (prompt, answer) in enumerate(parts):
        ours, base = (logs[len(prompt) - 1 : -1] for logs in both(model, prompt + answer))
        hits = int((ours.argmax(-1) == torch.tensor(answer)).sum())
        assert drift["kl"].numerator[row].item() == pytest.approx(
            float(kl_of(ours, base).sum()), rel=1e-4
        )
        assert drift["accuracy"].numerator[row].item() == hits
        assert {int(ratio.denominator[row]) for ratio in drift.values()} == {len(answer)}


def test_an_empty_answer_counts_for_nothing():
    drift = answer_drift(adapted_model(), [(TEXTS[0], ()), (TEXTS[1][:2], TEXTS[1][2:])])
    assert [ratio.numerator[0].item() for ratio in drift.values()] == [0, 0, 0]
    assert [ratio.denominator[0].item() for ratio in drift.values()] == [0, 0, 0]
    assert drift["kl"].denominator[1].item() == len(TEXTS[1]) - 2


def test_a_slot_has_the_distance_of_the_token_after_it():
    model = adapted_model()
    drift = slot_drift(model, SLOTS)
    assert list(drift) == ["kl", "slot_tvd"]
    for row, slot in enumerate(SLOTS):
        ours, base = (logs[-1] for logs in both(model, slot))
        tvd = 1 - float(torch.minimum(ours.exp(), base.exp()).sum())
        assert drift["kl"].numerator[row].item() == pytest.approx(float(kl_of(ours, base)), 1e-4)
        assert drift["slot_tvd"].numerator[row].item() == pytest.approx(tvd, abs=1e-5)
    assert all(ratio.denominator.tolist() == [1.0] * len(SLOTS) for ratio in drift.values())


@pytest.mark.parametrize(
    ("make", "forwards"), [(lambda: tiny_model("llama"), 1), (adapted_model, 2)]
)
def test_a_model_without_an_adapter_is_its_own_base_in_one_forward(make, forwards, monkeypatch):
    run = []

    def counted(*args):
        run.append(args)
        return row_logits(*args)

    monkeypatch.setattr("distmatch.measuring.drift.row_logits", counted)
    assert text_drift(make(), TEXTS)["kl"].numerator.any() == (forwards == 2)
    assert len(run) == forwards
