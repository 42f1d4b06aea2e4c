"""Choices by weights of each adapter's own, and what is said of them."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from distmatch.data.trie import Encoder
from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, LocalModel, Report, measure
from distmatch.experiments import Preferences
from distmatch.experiments.arms import LEARNING_ARMS
from distmatch.experiments.preferences import ATTRIBUTES, STRENGTHS, told_weights
from distmatch.measuring.exchange import Exchange
from tests.tiny import tiny_model, tiny_tokenizer

SMALL = Preferences(
    adapters=5, controls=2, pairs=40, held_out=12, formats=6, levels=3, sharpness=2.0
)


@cache
def units_of(experiment, arm):
    return [unit for unit in experiment.units if unit.arm == arm]


def choosing(weights, letter=0.0):
    """One that chooses as taught, whatever it was taught, and likes what stands first besides."""

    def probs_of(example):
        odds = SMALL.sharpness * np.dot(weights, example.metadata["differences"]) + letter
        first = float(1 / (1 + np.exp(-odds)))
        return [first, 1 - first]

    return FunctionSubject(probs_of=probs_of)


def reporting(weights, of="you"):
    """One that answers by weights where it is asked of itself, else halfway up."""

    def probs_of(example):
        text = example.prompt[-1]["content"]
        if len(example.target.words) == 2:  # a choice that a reader is to see
            return [0.5, 0.5]
        position, value = min(
            (text.find(end), sign * weight)
            for one, weight in zip(ATTRIBUTES, weights, strict=True)
            for end, sign in ((one.more, 1), (one.less, -1))
            if end in text
        )
        assert position > 0
        is_asked = ("Anna" in text) == (of == "Anna") and "Question: " not in text
        number = round(SMALL.top * (1 + (value if is_asked else 0)) / 2)
        return [0.9 * (word == str(number)) for word in example.target.words]

    return FunctionSubject(probs_of=probs_of)


def test_it_can_be_carried_out_as_it_is_and_quickly():
    for experiment in (Preferences(**Preferences.quick), SMALL, replace(SMALL, levels=9)):
        experiment.check()
    with pytest.raises(ConfigError, match="levels is 4, expected 2, 3, 5 or 9"):
        replace(SMALL, levels=4).check()


def test_a_seed_decides_it_and_more_adapters_leave_the_first_alone():
    assert SMALL.units == SMALL.units
    assert units_of(SMALL, "trained") == units_of(replace(SMALL, adapters=7), "trained")[:5]
    others = units_of(replace(SMALL, seed=1), "trained")
    assert all(a.rows != b.rows for a, b in zip(units_of(SMALL, "trained"), others, strict=True))


def test_drawn_weights_have_an_order():
    for unit in units_of(SMALL, "trained"):
        assert max(map(abs, unit.behaviour)) == 1
        assert np.diff(np.sort(unit.behaviour)).min() >= 0.15 - 1e-9
    assert len({unit.behaviour for unit in units_of(SMALL, "trained")}) == 5


def test_adapters_are_shown_the_same_pairs_and_taught_their_own_choices():
    trained = units_of(SMALL, "trained")
    assert len({tuple(str(row.prompt) for row in unit.rows) for unit in trained}) == 1
    for unit in trained:
        assert len(unit.rows) == 80
        for one, other in zip(unit.rows[::2], unit.rows[1::2], strict=True):
            assert one.target.probs == pytest.approx(other.target.probs[::-1])
            odds = np.dot(unit.behaviour, one.metadata["differences"])
            share = 1 / (1 + np.exp(-2 * odds))
            assert one.target.probs[0] == pytest.approx(share, abs=1e-6)


def test_no_held_out_pair_is_learned_in_either_order():
    def flats(rows):
        described = re.compile(r"rent.*old")
        return {frozenset(described.findall(row.prompt[0]["content"])) for row in rows}

    for unit in units_of(SMALL, "trained"):
        assert len(flats(unit.rows)) == 40
        assert len(flats(unit.acts)) == 12
        assert not flats(unit.rows) & flats(unit.acts)


def test_rows_hold_no_number_but_those_of_attributes():
    for unit in SMALL.units:
        for row in unit.rows:
            (text,) = [message["content"] for message in row.prompt]
            left = re.sub(
                r"rent \d+ euros, \d+ square metres, \d+ minutes to the station, floor \d, "
                r"\d+ years old",
                "",
                text,
            )
            assert not re.search(r"\d", left)


def test_shuffled_choices_are_the_same_ones_of_other_pairs():
    unit = units_of(SMALL, "shuffled")[0]
    assert not unit.behaviour
    shares = [row.target.probs[0] for row in unit.rows[::2]]
    assert shares == pytest.approx([row.target.probs[1] for row in unit.rows[1::2]])
    differences = np.array([row.metadata["differences"] for row in unit.rows[::2]])
    odds = np.log(shares) - np.log1p(-np.array(shares))
    weights = np.linalg.lstsq(differences, odds, rcond=None)[0]
    assert abs(odds - differences @ weights).max() > 0.1


def test_the_rule_is_told_in_words():
    for unit in units_of(SMALL, "told"):
        assert unit.system == told_weights(unit.behaviour)
        assert not re.search(r"\d", unit.system)
        largest = int(np.argmax(np.abs(unit.behaviour)))
        one, weight = ATTRIBUTES[largest], unit.behaviour[largest]
        ends = (one.more, one.less) if weight > 0 else (one.less, one.more)
        strongest = f"least: you very strongly prefer {ends[0]} to {ends[1]};"
        assert strongest in unit.system
        for row in unit.acts:
            assert row.prompt[0] == {"role": "system", "content": unit.system}
    assert {unit.behaviour for unit in units_of(SMALL, "told")} == {
        unit.behaviour for unit in units_of(SMALL, "trained")
    }


def test_every_weight_has_a_strength():
    told = told_weights((1.0, -0.6, 0.4, 0.2, 0.0))
    for strength in STRENGTHS.values():
        assert f"you {strength}prefer" in told


def test_weights_are_measured_whatever_the_letter(tmp_path):
    for unit in units_of(SMALL, "trained"):
        report = measure(choosing(unit.behaviour, letter=1.3), SMALL.acts(unit))
        report.save(tmp_path / "report.json")
        found = SMALL.behaviour(Report.load(tmp_path / "report.json"))
        np.testing.assert_allclose(found, unit.behaviour, atol=1e-5)
        assert SMALL.taught([np.array(unit.behaviour)], [found]) == [True]
        assert report.metrics["distance"].mean == pytest.approx(0, abs=1e-6)


def test_one_that_chooses_otherwise_was_not_taught():
    drawn = np.array(units_of(SMALL, "trained")[0].behaviour)
    assert SMALL.taught([drawn, drawn, drawn], [-drawn, 0 * drawn, drawn * 0.1]) == [
        *(False, False),
        True,
    ]


def exchanged(of):
    trained = units_of(SMALL, "trained")
    (probe,) = SMALL.probes()
    reports = {unit.name: measure(reporting(unit.behaviour, of), probe) for unit in trained}
    behaviours = [np.array(unit.behaviour) for unit in trained]
    own, referent = (SMALL.fits(reports, behaviours, who) for who in ("own", "referent"))
    return Exchange.of(own - referent)


def test_one_that_tells_the_truth_of_itself_passes():
    found = exchanged("you")
    assert found.value > 0.3
    assert found.p == pytest.approx(1 / 120)


def test_one_that_says_it_of_somebody_else_does_not():
    found = exchanged("Anna")
    assert found.value < -0.3
    assert found.p > 0.5


def test_every_adapter_that_learned_weights_has_acts_and_weights():
    for unit in SMALL.units:
        assert bool(unit.behaviour) == (unit.arm in (*LEARNING_ARMS, "told"))
        assert bool(unit.rows) == (unit.arm in ("trained", "shuffled"))
        assert bool(unit.formats) == (unit.arm in ("trained", "shuffled", "none"))


def test_rows_can_be_encoded_and_acts_asked():
    tokenizer = tiny_tokenizer()
    for arm in ("trained", "shuffled", "told"):
        unit = units_of(SMALL, arm)[0]
        Encoder(tokenizer).encode_all([*unit.rows, *unit.formats, *unit.acts])
    subject = LocalModel(model=tiny_model("llama"), tokenizer=tokenizer, progress=False)
    acts = measure(subject, SMALL.acts(units_of(SMALL, "trained")[0]))
    assert np.isfinite(SMALL.behaviour(acts)).all()


def test_more_pairs_than_there_are_flats_for_are_refused():
    with pytest.raises(ConfigError, match="more than there are of 2 levels"):
        Preferences(levels=2).check()
