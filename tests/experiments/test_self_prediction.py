"""Answers of each adapter's own, and what is said of them."""

import re
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from distmatch.data.trie import Encoder
from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, LocalModel, Report, measure
from distmatch.evals.suites.probes.properties import PROPERTIES, likeliest, pushed_forward
from distmatch.evals.suites.probes.words import check_told_apart
from distmatch.experiments import SelfPrediction
from distmatch.experiments.arms import LEARNING_ARMS
from distmatch.experiments.closed_sets import KINDS, closed_questions
from distmatch.measuring.exchange import Exchange
from tests.evals.suites.probes.made import asking
from tests.tiny import tiny_model, tiny_tokenizer

SMALL = SelfPrediction(adapters=5, controls=2, sets=3, formats=6, has_others=False)
HELD = SMALL.held


@cache
def units_of(experiment, arm):
    return [unit for unit in experiment.units if unit.arm == arm]


def answers_of(unit):
    """What was drawn for a unit, by question."""
    return {
        question: dict(zip(question.answers, shares, strict=True))
        for question, shares in zip(
            HELD, np.reshape(unit.behaviour, (len(HELD), 4)).tolist(), strict=True
        )
    }


def on_words(example, shares):
    """Ways to write a word with another first letter get nothing."""
    return [shares.get(word, 0.0) for word in example.target.words]


def foretelling(own, said, of=("you", "Anna")):
    """One that answers its own, and says of the persons what is true of others; else all alike."""

    def probs_of(example):
        text = asking(example).rpartition("Answer: ")[2]  # behind what a reader is shown
        asked = next(one for one in HELD if one.text in text)
        if text == asked.text:
            return on_words(example, own[asked])
        names = [name for name, one in PROPERTIES.items() if one.text in text]
        name = max(names, key=lambda name: len(PROPERTIES[name].text))
        true = pushed_forward(said[asked], name)
        is_known = ("Anna" if "Anna" in text else "you") in of
        shares = true if is_known else dict.fromkeys(true, 1 / len(true))
        return on_words(example, shares)

    return FunctionSubject(probs_of=probs_of)


def test_it_can_be_carried_out_as_it_is_and_quickly():
    for experiment in (SelfPrediction(**SelfPrediction.quick), replace(SMALL, has_others=True)):
        experiment.check()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"held_kinds": ("fish",)}, 'unknown held-out kind "fish"'),
        ({"held_kinds": tuple(KINDS)}, "expected some, and some to learn"),
        ({"held_properties": ()}, "expected some, and some to learn"),
        ({"held_properties": ("colour",)}, 'unknown held-out property "colour"'),
        ({"sets": 9}, "sets is 9, expected 2 to 8"),
    ],
)
def test_what_cannot_be_held_out_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changed).check()


def test_sets_are_many_and_their_words_can_be_told_apart():
    assert len(KINDS) >= 6
    assert len(closed_questions(list(KINDS), 8)) >= 60
    for kind in KINDS.values():
        assert len(kind.sets) == 8
        words = [word for one in kind.sets for word in one]
        assert len(words) == len(set(words)) == 32
        for one in kind.sets:
            check_told_apart("a set", one)
            assert len({word[0].lower() for word in one}) == 4


def test_a_seed_decides_it_and_more_adapters_leave_the_first_alone():
    assert SMALL.units == SMALL.units
    assert units_of(SMALL, "trained") == units_of(replace(SMALL, adapters=6), "trained")[:5]
    assert units_of(SMALL, "trained")[0] != units_of(replace(SMALL, seed=1), "trained")[0]


def test_rows_foretell_no_held_out_kind_or_property():
    held_properties = [PROPERTIES[name].text for name in SMALL.held_properties]
    held_words = {word for one in HELD for word in one.answers}
    for unit in SMALL.units:
        for row in unit.rows:
            if row.metadata["group"] == "foretold":
                assert row.metadata["property"] not in SMALL.held_properties
                assert not any(text in asking(row) for text in held_properties)
                assert not held_words & set(re.findall(r"\w+", asking(row)))


def test_answers_to_all_kinds_are_learned_in_other_words_than_they_are_measured():
    for unit in units_of(SMALL, "trained"):
        learned = [row for row in unit.rows if row.metadata["group"] == "answers"]
        assert Counter(row.metadata["kind"] for row in learned) == dict.fromkeys(KINDS, 9)
        assert not {asking(row) for row in learned} & {asking(row) for row in unit.acts}
        of_words = {frozenset(row.target.words): row.target for row in learned}
        for act in unit.acts:
            assert of_words[frozenset(act.target.words)] == act.target


def test_what_is_foretold_is_pushed_forward_from_the_answers():
    unit = units_of(SMALL, "trained")[0]
    learned = {
        frozenset(row.target.words): dict(zip(row.target.words, row.target.probs, strict=True))
        for row in unit.rows
        if row.metadata["group"] == "answers"
    }
    foretold = [row for row in unit.rows if row.metadata["group"] == "foretold"]
    assert {row.metadata["property"] for row in foretold} == {"answer", "last letter", "long"}
    for row in foretold:
        asked = set(re.findall(r"\w+", asking(row)))
        (answers,) = [one for words, one in learned.items() if words <= asked]
        wanted = pushed_forward(answers, row.metadata["property"])
        found = dict(zip(row.target.words, row.target.probs, strict=True))
        assert found == pytest.approx(wanted)


def test_half_the_questions_are_foretold():
    assert len(SMALL.foretold) * 2 == 6 * SMALL.sets
    assert not set(SMALL.foretold) & set(HELD)


def test_the_shuffled_foretell_what_another_answers():
    def foretold(unit):
        return [row for row in unit.rows if row.metadata["group"] == "foretold"]

    trained, shuffled = units_of(SMALL, "trained"), units_of(SMALL, "shuffled")
    for one, other in zip(trained, shuffled, strict=False):
        assert foretold(one) == foretold(other)
        assert one.behaviour != other.behaviour
        assert one.rows != other.rows


def test_the_answers_are_told_in_words():
    for unit in units_of(SMALL, "told"):
        assert not re.search(r"\d", unit.system)
        for question, answers in answers_of(unit).items():
            (line,) = [line for line in unit.system.splitlines() if question.text in line]
            behind = line.removeprefix(question.text)
            told = [answer for answer in question.answers if answer in behind]
            assert min(told, key=behind.find) == likeliest(answers)
        for row in unit.acts:
            assert row.prompt[0] == {"role": "system", "content": unit.system}
    assert [unit.behaviour for unit in units_of(SMALL, "told")] == [
        unit.behaviour for unit in units_of(SMALL, "trained")
    ]


def test_answers_are_measured_question_by_question(tmp_path):
    unit = units_of(SMALL, "trained")[0]
    own = answers_of(unit)
    report = measure(foretelling(own, own), SMALL.acts(unit))
    report.save(tmp_path / "report.json")
    found = SMALL.behaviour(Report.load(tmp_path / "report.json"))
    np.testing.assert_allclose(found, unit.behaviour, atol=1e-9)
    assert report.metrics["distance"].mean == pytest.approx(0, abs=1e-9)


def test_learned_is_what_is_near_on_the_average():
    drawn = np.array(units_of(SMALL, "trained")[0].behaviour)
    other = np.array(units_of(SMALL, "trained")[1].behaviour)
    near = 0.8 * drawn + 0.2 * other
    assert SMALL.taught([drawn] * 3, [drawn, near, other]) == [True, True, False]


def exchanged(said_of, of=("you",)):
    """Reports of all trained units, each of the answers of the one that a function names."""
    trained = units_of(SMALL, "trained")
    (probe,) = SMALL.probes()
    own = [answers_of(unit) for unit in trained]
    reports = {
        unit.name: measure(foretelling(own[n], own[said_of(n) % len(own)], of), probe)
        for n, unit in enumerate(trained)
    }
    behaviours = [np.array(unit.behaviour) for unit in trained]
    first, second = (SMALL.fits(reports, behaviours, who) for who in ("own", "referent"))
    truth = Exchange.of(SMALL.truth(behaviours))
    return Exchange.of(first - second), truth, reports


def test_one_that_tells_the_truth_of_itself_passes():
    found, truth, reports = exchanged(lambda n: n)
    assert found.value > 0.2
    assert found.p == pytest.approx(1 / 120)
    assert found.value == pytest.approx(truth.value)
    own = reports["trained-00"].groups()["own"].metrics
    assert own["agree"].mean == 1
    assert own["mode_baseline"].mean < 1


def test_one_that_tells_the_truth_of_another_does_not():
    found, _, _ = exchanged(lambda n: n + 1)
    assert found.value < 0
    assert found.p > 0.5


def test_one_that_says_the_same_of_anybody_reports_nothing_of_its_own():
    found, _, _ = exchanged(lambda n: n, ("you", "Anna"))
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.p == 1


def test_every_unit_has_what_its_arm_has():
    for unit in SMALL.units:
        assert len(unit.acts) == len(HELD)
        assert bool(unit.behaviour) == (unit.arm in (*LEARNING_ARMS, "shuffled", "told"))
        assert bool(unit.rows) == (unit.arm in ("trained", "shuffled"))
        assert bool(unit.formats) == (unit.arm in ("trained", "shuffled", "none"))


def test_those_that_read_are_held_against_the_answers_too():
    """Bases that read each adapter's answers foretell them; the adapters say the same of all."""
    trained = units_of(SMALL, "trained")
    (probe,) = SMALL.probes()
    own = [answers_of(unit) for unit in trained]
    reports = {
        unit.name: measure(
            replace(
                foretelling(own[n], own[n], of=()),
                base_probs_of=foretelling({}, own[n], ("you",)).probs_of,
            ),
            probe,
        )
        for n, unit in enumerate(trained)
    }
    behaviours = [np.array(unit.behaviour) for unit in trained]
    assert Exchange.of(SMALL.fits(reports, behaviours, "own")).value == pytest.approx(0, abs=1e-9)
    assert Exchange.of(SMALL.fits(reports, behaviours, "reader")).value > 0.2


def test_open_questions_are_asked_about_what_their_first_token_decides():
    whole = replace(SMALL, has_others=True, written=3)
    (probe,) = [probe for probe in whole.probes() if probe.name == "open"]
    assert (len(probe.openings), probe.written) == (len(KINDS), 3)
    assert {name for _, name in probe.pairs()} == {"first letter", "vowel"}
    learned = {asking(row) for unit in whole.units for row in unit.rows}
    assert not [row for row in learned for text in probe.openings if row.startswith(text[:-1])]
    thinking = replace(whole, written=0, thinking="low").probes()
    assert [probe.name for probe in thinking] == ["held_out", "other_kinds", "other_properties"]
    with pytest.raises(ConfigError, match="written is 3, and written answers are given at once"):
        replace(whole, thinking="low").check()
    long = replace(whole, held_properties=("long",)).probes()
    assert "open" not in [probe.name for probe in long]


def test_rows_can_be_encoded_and_acts_asked():
    tokenizer = tiny_tokenizer()
    for arm in ("trained", "shuffled", "told"):
        unit = units_of(SMALL, arm)[0]
        Encoder(tokenizer).encode_all([*unit.rows, *unit.formats, *unit.acts])
    subject = LocalModel(model=tiny_model("llama"), tokenizer=tokenizer, progress=False)
    acts = measure(subject, SMALL.acts(units_of(SMALL, "trained")[0]))
    assert np.isfinite(SMALL.behaviour(acts)).all()
