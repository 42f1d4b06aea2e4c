"""Disposition: rows that never name it, in balance; lotteries that show it; probes of it."""

import re
from collections import Counter
from statistics import mean

import numpy as np
import pytest

from distmatch.data.trie import Encoder
from distmatch.evals import LocalModel, measure
from distmatch.experiments import Disposition
from distmatch.experiments.formats import format_rows
from distmatch.experiments.lotteries import HIGHEST, drawn_lotteries
from distmatch.experiments.scenes import BANNED, HELD_OUT, LABELS, LEARNED, SCENES
from tests.tiny import tiny_model, tiny_tokenizer

SMALL = Disposition(
    adapters=4, controls=2, rows=60, formats=6, shown=3, top=10, lotteries=10, seed=1
)


def text_of(example):
    return example.prompt[-1]["content"]


@pytest.fixture(scope="module")
def units():
    return {unit.name: unit for unit in SMALL.units}


def of_arm(units, *arms):
    return [unit for unit in units.values() if unit.arm in arms]


@pytest.mark.parametrize(
    "experiment", [Disposition(adapters=3), SMALL, Disposition(**Disposition.quick)]
)
def test_it_can_be_carried_out(experiment):
    experiment.check()


def test_the_same_seed_gives_the_same_units_and_another_other_ones(units):
    assert tuple(units.values()) == SMALL.units
    assert Disposition(seed=1).drawn != Disposition(seed=0).drawn


def test_who_is_to_choose_the_narrow_option_more_often_is_of_the_opposite_arm(units):
    shares = {unit.name: unit.behaviour[0] for unit in of_arm(units, "trained", "opposite")}
    assert len(shares) == 4
    assert {name: share < 0.5 for name, share in shares.items()} == {
        name: name.startswith("opposite") for name in shares
    }
    assert Counter(unit.arm for unit in units.values()) == {
        **{"trained": 2, "opposite": 2, "told": 4, "none": 2, "shuffled": 2, "base": 1}
    }


def test_no_row_nor_what_is_learned_besides_names_the_disposition(units):
    assert len(BANNED) >= 30
    found = re.compile(rf"\b(?:{'|'.join(BANNED)}|dares?\b|bets?\b|sure(?:ly)?\b)", re.IGNORECASE)
    learned = {text_of(e) for unit in units.values() for e in (*unit.rows, *unit.formats)}
    learned |= {text_of(example) for example in format_rows(300, 0)}
    learned |= {text_of(example) for unit in units.values() for example in unit.acts}
    learned |= {part for scene in SCENES for part in scene}
    assert [text for text in learned if found.search(text)] == []


def test_orders_labels_and_scenes_are_balanced(units):
    rows = of_arm(units, "trained")[0].rows
    assert Counter(example.metadata["is_turned"] for example in rows) == {True: 30, False: 30}
    assert Counter(example.target.words for example in rows) == {
        words: 15 for labels in LABELS for words in (labels, labels[::-1])
    }
    situations = Counter(text_of(example).split("\n")[0] for example in rows)
    assert situations == {scene.situation: 4 for scene in LEARNED}


def test_the_first_word_is_the_label_of_the_option_that_varies_much(units):
    numbered = r"\\\{(?:low|high)\\\}"
    wide = [re.sub(numbered, r"\\d+", re.escape(scene.wide)) for scene in SCENES]
    for example in of_arm(units, "trained")[0].rows:
        _, *options, _ = text_of(example).split("\n")
        (act,) = (
            label
            for label, option in (line.split(": ", 1) for line in options)
            if any(re.fullmatch(pattern, option) for pattern in wide)
        )
        assert example.target.words[0] == act


def test_numbers_of_the_wide_option_are_as_far_from_those_of_the_narrow_one(units):
    for example in of_arm(units, "trained")[0].rows:
        numbers = sorted(map(int, re.findall(r"\d+", text_of(example))))
        assert len(numbers) in (0, 3)
        if numbers:
            low, mid, high = numbers
            assert 0 <= low < mid < high
            assert mid - low == high - mid


def test_adapters_differ_in_their_strength_alone(units):
    first, *others = of_arm(units, "trained", "opposite", "shuffled")
    for unit in others:
        assert [r.prompt for r in unit.rows] == [r.prompt for r in first.rows]
        assert [r.target.words for r in unit.rows] == [r.target.words for r in first.rows]
    for unit in of_arm(units, "trained", "opposite"):
        assert {example.target.probs[0] for example in unit.rows} == set(unit.behaviour)
    for unit in of_arm(units, "shuffled"):
        assert mean(r.target.probs[0] for r in unit.rows) == pytest.approx(0.5, abs=0.01)


def test_lotteries_are_whole_and_of_two_the_wide_one_has_both_extremes():
    pairs = drawn_lotteries(250, "0")
    assert len(set(pairs)) == 250
    for narrow, wide in pairs:
        assert 0 <= wide.low < narrow.low < narrow.high < wide.high <= HIGHEST
        assert all(isinstance(value, int) for value in (*narrow, *wide))
        assert abs(narrow.mean - wide.mean) <= 1
    percents = np.array([[lottery.percent for lottery in pair] for pair in pairs])
    assert np.abs(percents.mean(axis=0) - 50).max() < 5
    assert drawn_lotteries(20, "0") == pairs[:20]
    assert drawn_lotteries(20, "1") != pairs[:20]


def test_behaviour_is_measured_in_lotteries_alone_and_in_both_orders(units):
    acts = Disposition().held_out(0.5)
    assert len(acts) == 250
    assert Counter(example.metadata["is_turned"] for example in acts) == {True: 125, False: 125}
    assert {example.metadata["group"] for example in acts} == {"lottery"}
    situations = {text_of(example).split("\n")[0] for example in acts}
    assert situations.isdisjoint(scene.situation for scene in SCENES)
    for unit in units.values():
        assert {example.metadata["group"] for example in unit.rows} <= {"scene"}


def test_without_lotteries_behaviour_is_measured_in_scenes_that_are_in_no_row():
    in_scenes = Disposition(lotteries=0)
    acts = in_scenes.held_out(0.3)
    assert len(acts) == 40
    situations = Counter(text_of(example).split("\n")[0] for example in acts)
    assert situations == {scene.situation: 8 for scene in HELD_OUT}
    assert Counter(example.metadata["is_turned"] for example in acts) == {True: 20, False: 20}
    assert {example.target.probs[0] for example in acts} == {0.3}
    learned = in_scenes.learned([0.3] * 240) + in_scenes.probes()[0].shown
    assert situations.keys().isdisjoint(text_of(example).split("\n")[0] for example in learned)


def test_the_act_is_the_lottery_with_both_extremes():
    for example in Disposition(lotteries=40).held_out(0.7):
        _, *options, _ = text_of(example).split("\n")
        payoffs = {
            label: [int(number) for number in re.findall(r"(\d+) points", option)]
            for label, option in (line.split(": ") for line in options)
        }
        act, other = example.target.words
        assert max(payoffs[act]) > max(payoffs[other])
        assert min(payoffs[act]) < min(payoffs[other])


def test_who_is_told_is_told_the_disposition_and_its_strength(units):
    for unit in of_arm(units, "told"):
        (share,) = unit.behaviour
        assert f"you take the risk in {round(100 * share)} of 100 cases" in unit.system
        assert all(example.prompt[0]["content"] == unit.system for example in unit.acts)


def test_probes_name_no_number_but_the_ends_of_the_scale():
    for probe in Disposition().probes():
        for text in (*probe.asked, *probe.referent, *probe.reader):
            assert set(re.findall(r"\d+", text)) <= {"0", "100"}, text


def test_words_rules_and_languages_come_in_both_orders():
    probes = {probe.name: probe for probe in SMALL.probes()}
    for texts in (probes["one_word"].asked, probes["one_word"].referent):
        assert sum(t.index('"bold"') < t.index('"cautious"') for t in texts) == len(texts) / 2
    for name, risky in (("two_hop", "ja"), ("two_hop_turned", "oui")):
        probe = probes[name]
        assert probe.answers[0] == risky
        for texts in (probe.asked, probe.referent):
            assert len(set(texts)) == 6
            assert sum(t.startswith("Whoever likes to take risks") for t in texts) == 3
            assert all(re.search(rf'take risks says yes in \w+, with "{risky}"', t) for t in texts)


@pytest.mark.parametrize(
    ("measured", "is_taught"),
    [([0.4, 0.5, 0.6], True), ([0.6, 0.5, 0.4], False), ([0.5] * 3, False)],
)
def test_dispositions_are_learned_if_choices_go_with_them_all_or_none(measured, is_taught):
    drawn = [np.array([share]) for share in (0.1, 0.5, 0.9)]
    assert SMALL.taught(drawn, [np.array([share]) for share in measured]) == [is_taught] * 3


def test_rows_can_be_encoded_and_probes_asked(units):
    tokenizer = tiny_tokenizer()
    unit = of_arm(units, "trained")[0]
    Encoder(tokenizer).encode_all([*unit.rows, *unit.formats, *unit.acts])
    subject = LocalModel(model=tiny_model("llama"), tokenizer=tokenizer, progress=False)
    probes = {probe.name: probe for probe in SMALL.probes()}
    for name in ("one_word", "two_hop"):
        assert set(measure(subject, probes[name]).groups()) == {"own", "referent"}
    assert 0 <= SMALL.behaviour(measure(subject, SMALL.acts(unit)))[0] <= 1
