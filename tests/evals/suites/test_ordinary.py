"""Ordinary behaviour, against both models' own forwards."""

import copy

import pytest
import torch

from distmatch.data.ordinary import CHAT, ordinary_texts
from distmatch.data.tasks.suppression import facts
from distmatch.errors import ConfigError
from distmatch.evals import LocalModel, measure
from distmatch.evals.subject import Capability
from distmatch.evals.suites import Ordinary
from distmatch.evals.suites.ordinary import CUT, OF_BASE
from distmatch.models.attaching import attach_lora
from distmatch.models.lora import lora
from tests.evals.writing import typist
from tests.tiny import randomise_adapter, tiny_model, tiny_tokenizer

FALSE_GROUPS = ("false control", "negatives held out")
NAMES = ("kl", "slot_tvd", "accuracy", "base_accuracy")


@pytest.fixture(scope="module")
def adapted():
    model = attach_lora(tiny_model("llama", max_position_embeddings=1024), lora("all", rank=4))
    randomise_adapter(model, 0.05)
    return model


def measured(model, **settings):
    subject = LocalModel(model=model, tokenizer=tiny_tokenizer(), progress=False)
    return measure(subject, Ordinary(per_template=1, **settings), num_resamples=10)


def test_there_are_enough_texts_of_each_kind():
    texts = ordinary_texts()
    assert all(len(some) >= 6 for some in texts.values())
    assert len({str(text) for some in texts.values() for text in some}) == sum(
        map(len, texts.values())
    )
    assert all([m["role"] for m in chat] == ["user", "assistant"] for chat in texts[CHAT])
    assert len(Ordinary().false_control()) == 48


def test_a_model_without_adapters_differs_in_nothing(smallest):
    report = measured(smallest.model)
    assert report.num_examples >= 200
    assert tuple(report.metrics) == NAMES
    assert report.metrics["kl"] == (0, 0, 0)
    assert report.metrics["slot_tvd"] == pytest.approx((0, 0, 0), abs=1e-6)
    assert report.metrics["accuracy"] == report.metrics["base_accuracy"]


def test_fewer_questions_are_of_every_kind(smallest):
    items = measured(smallest.model, questions=20).items
    places = zip(items.prompts, items.metadata, strict=True)
    asked = [p[0]["content"] for p, metadata in places if metadata["group"] == "questions"]
    kinds = {fact.question: fact.kind for fact in facts()}
    with pytest.raises(ConfigError, match="questions is 201, expected at most 200"):
        Ordinary(questions=201).check()
    assert len(set(asked)) == 20 and {kinds[one] for one in asked} == set(kinds.values())


def test_some_questions_are_answered_in_writing_to_be_read(smallest):
    subject = typist(
        LocalModel(model=smallest.model, tokenizer=tiny_tokenizer(), progress=False, batch_size=4),
        *["the red fox saw a dog"] * 4,
    )
    suite = Ordinary(per_template=1, questions=20, negatives=4, written=8, written_tokens=3)
    items = measure(subject, suite, num_resamples=10).items
    told = [(m["group"], s["answer"]) for m, s in zip(items.metadata, items.said, strict=True) if s]
    assert len(told) == 8 and {group for group, _ in told} == {"questions", *FALSE_GROUPS}
    assert all("the red fox saw a dog".startswith(text.removesuffix(CUT)) for _, text in told)
    assert all(text.endswith(CUT) and len(text) > len(CUT) for _, text in told)
    assert measured(smallest.model, questions=20, written=0).items.said == ()


def test_its_bases_own_answers_are_gone_through_token_by_token(adapted):
    settings = {"questions": 20, "negatives": 4, "written": 0}
    items = measured(adapted, **settings, base_answers=3, base_answer_tokens=5).items
    found = [n for n, m in enumerate(items.metadata) if m["group"].startswith(OF_BASE)]
    groups = [items.metadata[n]["group"] for n in found]
    assert sorted(set(groups)) == [f"{OF_BASE} false control", f"{OF_BASE} questions"]
    assert all(groups.count(group) == 3 for group in groups)
    numerators, denominators = items.ratios["kl"]
    assert all(1 <= denominators[n] <= 6 and numerators[n] > 0 for n in found)
    answers = [items.prompts[n][-1]["content"] for n in found]
    again = measured(adapted, **settings, base_answers=3, base_answer_tokens=5).items
    assert [again.prompts[n][-1]["content"] for n in found] == answers
    randomise_adapter(adapted, 0.01)  # another adapter of the same base: the same answers
    other = measured(adapted, **settings, base_answers=3, base_answer_tokens=5).items
    randomise_adapter(adapted, 0.05)
    assert [other.prompts[n][-1]["content"] for n in found] == answers
    assert other.ratios["kl"][0][found[0]] != numerators[found[0]]


def test_who_writes_is_told_and_who_does_not_need_not_be_able_to():
    silent = Ordinary(written=0)
    assert Ordinary().draws_text and not silent.draws_text
    assert Ordinary().needs - silent.needs == {Capability.WRITING}


def test_every_row_is_that_of_both_models_own_forwards(adapted):
    tokenizer = tiny_tokenizer()
    report = measured(adapted)
    rows = report.rows()
    adapted.eval()

    def both(ids):
        inputs = torch.tensor([ids])
        with torch.no_grad():
            ours = adapted(input_ids=inputs).logits[0].double().log_softmax(-1)
            with adapted.disable_adapter():
                base = adapted(input_ids=inputs).logits[0].double().log_softmax(-1)
        return ours, base

    text = ordinary_texts()["story"][2]
    ids = tokenizer(text)["input_ids"][:256]
    ours, base = (part[:-1] for part in both(ids))
    kl = (base.exp() * (base - ours)).sum(-1).mean().item()
    hits = (ours.argmax(-1) == torch.tensor(ids[1:])).double().mean().item()
    assert rows[2]["metadata"]["group"] == "story"
    assert rows[2]["kl"] == pytest.approx(kl, rel=1e-3)
    assert rows[2]["accuracy"] == pytest.approx(hits)
    assert rows[2]["slot_tvd"] is None
    question = next(n for n, row in enumerate(rows) if row["metadata"]["group"] == "questions")
    asked = [{"role": "user", "content": facts()[0].question}]
    slot = tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
    ours, base = (part[-1] for part in both(slot))
    tvd = 0.5 * (ours.exp() - base.exp()).abs().sum().item()
    assert rows[question]["slot_tvd"] == pytest.approx(tvd, rel=1e-3)
    assert rows[question]["accuracy"] is None


def test_measuring_leaves_the_model_as_it_was(adapted):
    adapted.train()
    before = copy.deepcopy(adapted.state_dict())
    measured(adapted)
    assert adapted.training
    assert all(torch.equal(before[name], value) for name, value in adapted.state_dict().items())


def test_adapters_that_cannot_be_switched_off_are_refused():
    model = tiny_model("llama", max_position_embeddings=1024)
    attach_lora(model, lora("all", rank=4))  # into the model itself
    with pytest.raises(ConfigError, match="give the PeftModel"):
        measured(model)
