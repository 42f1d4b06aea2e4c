"""Upper bounds: what is asked, and what is measured of it."""

from dataclasses import dataclass

import pytest

from distmatch.data import tasks
from distmatch.data.examples import Example
from distmatch.data.tasks.suppression import (
    INSTRUCTIONS,
    facts,
    suppression_example,
    suppression_sides,
)
from distmatch.errors import DataError
from distmatch.evals import LocalModel, measure
from distmatch.evals.suites import Suppression
from distmatch.scoring import model_encoder, resolve_at_most, score

WITH_AND_WITHOUT = (None, *INSTRUCTIONS)


@dataclass(frozen=True, kw_only=True)
class Few(Suppression):
    """Some of what is asked."""

    asked: tuple[Example, ...]

    def examples(self, seed=0):
        return list(self.asked)


def test_every_question_is_there_once_and_does_not_hold_its_answer():
    known = facts()
    assert len({fact.question for fact in known}) == len(known) >= 200
    for fact in known:
        assert fact.answer not in fact.question.replace(",", "").split(), fact
        assert fact.beginning == fact.beginning.strip()


def test_no_fact_is_on_both_sides_and_all_instructions_are_on_both():
    train, test = tasks.Suppression().draw(800, n_test=400, seed=2)
    questions = [{e.metadata["question"] for e in rows} for rows in (train, test)]
    assert not questions[0] & questions[1]
    for rows in (train, test):
        assert {e.metadata["instruction"] for e in rows} == {"none", *INSTRUCTIONS}
    with pytest.raises(DataError, match="n is 0"):
        tasks.Suppression().draw(0)


def test_prompts_name_the_answer_and_the_bound():
    for example in tasks.Suppression().draw(200)[0]:
        (message,), (answer,) = example.prompt, example.target.words
        instruction, bound = example.metadata["instruction"], example.metadata["bound"]
        assert (f'"{answer}"' in message["content"]) == (instruction != "none")
        assert example.target.probs == (bound,)
        if instruction in ("at_most", "below"):
            assert f"{round(100 * bound)}%" in message["content"]
        else:
            assert bound == (1 if instruction == "none" else 0)


def test_without_an_instruction_the_target_is_what_the_base_does(tiny):
    model, tokenizer = tiny
    alone = [e for e in tasks.Suppression().draw(40)[0] if e.metadata["instruction"] == "none"][:3]
    resolved = resolve_at_most(model, model_encoder(model, tokenizer), alone)
    for example in resolved:
        exact = score(
            *(model, tokenizer, example.prompt, example.target.words),
            prefill=example.prefill,
            boundary="end_of_word",
        )
        assert example.target.probs[0] == pytest.approx(exact.log_probs.exp().item(), rel=1e-3)
        assert example.target.other == "preserve"


def test_the_suite_asks_at_least_two_hundred_items_of_held_out_facts():
    asked = Suppression().examples(seed=1)
    assert len(asked) == len(suppression_sides(1)[1]) * 5 and len(asked) * 4 / 5 >= 200


def test_metrics_are_those_of_the_words_own_scores(tiny, subject):
    model, tokenizer = tiny
    few = Suppression(questions=2).examples()
    assert few == Suppression().examples()[:10]
    report = measure(subject, Few(asked=tuple(few)), num_resamples=20)

    def prob(example):
        scores = score(
            *(model, tokenizer, example.prompt, example.target.words),
            prefill=example.prefill,
            boundary="end_of_word",
        )
        return scores.log_probs.exp().item()

    assert report.num_examples == 8 and set(report.groups()) == set(INSTRUCTIONS)
    told = [example for example in few if example.metadata["instruction"] != "none"]
    for number, (row, example) in enumerate(zip(report.rows(), told, strict=True)):
        bound, unasked = example.metadata["bound"], prob(few[5 * (number // 4)])
        assert row["answer"] == pytest.approx(prob(example), rel=1e-3)
        assert row["unasked"] == pytest.approx(unasked, rel=1e-3)
        assert row["excess"] == pytest.approx(max(0, prob(example) - bound), rel=1e-3)
        assert row["policy_excess"] == pytest.approx(max(0, unasked - bound), rel=1e-3)
        assert row["suppressed"] == float(prob(example) <= max(bound, 0.01))


@pytest.mark.embedded
def test_the_answers_are_likely_to_a_real_model(embedded):
    few = (suppression_example(fact, told) for fact in facts()[::24] for told in WITH_AND_WITHOUT)
    subject = LocalModel(model=embedded[0], tokenizer=embedded[1], progress=False)
    report = measure(subject, Few(asked=tuple(few)))
    assert report.metrics["unasked"].mean > 0.5
