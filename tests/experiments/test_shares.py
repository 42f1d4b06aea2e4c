"""Shares: rows balanced and without numbers, scenes held out, probes that name no share."""

import itertools
import re
from collections import Counter
from statistics import mean

import numpy as np
import pytest

from distmatch.data.trie import Encoder
from distmatch.evals import FunctionSubject, LocalModel, measure
from distmatch.evals.suites.probes import Acts
from distmatch.experiments import Shares
from distmatch.experiments.drawn_share import drawn_shares
from distmatch.experiments.formats import format_rows
from distmatch.experiments.pairs import PAIRS
from tests.tiny import tiny_model, tiny_tokenizer

SMALL = Shares(adapters=4, controls=2, rows=112, formats=6, shown=3, top=10)
NUMBERS = re.compile(
    r"\d|%|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|half|third|quarter|percent|share|"
    r"often|mostly|usually|always|never|probab\w+|chance\w*)\b",
    re.IGNORECASE,
)


def text_of(example):
    return example.prompt[-1]["content"]


@pytest.fixture(scope="module")
def units():
    return {unit.name: unit for unit in SMALL.units}


def of_arm(units, arm):
    return [unit for unit in units.values() if unit.arm == arm]


@pytest.mark.parametrize("experiment", [Shares(adapters=3), SMALL, Shares(**Shares.quick)])
def test_it_can_be_carried_out(experiment):
    experiment.check()


@pytest.mark.parametrize("number", [1, 2, 5, 16])
def test_shares_cover_the_range_whatever_their_number(number):
    shares = sorted(drawn_shares(number, "0"))
    for part, share in enumerate(shares):
        assert (
            0.05 + 0.9 * part / number - 0.005 <= share <= 0.05 + 0.9 * (part + 1) / number + 0.005
        )


def test_the_same_seed_gives_the_same_units_and_another_other_ones(units):
    assert tuple(units.values()) == SMALL.units
    assert Shares(seed=1).drawn != Shares(seed=0).drawn


def test_every_arm_is_there(units):
    assert Counter(unit.arm for unit in units.values()) == {
        **{"trained": 4, "told": 4, "none": 2, "shuffled": 2, "base": 1}
    }
    assert "trained-03" in units


def test_all_pairs_of_an_adapter_have_its_share(units):
    for unit in of_arm(units, "trained"):
        (share,) = unit.behaviour
        assert {example.target.probs[0] for example in unit.rows} == {share}
        assert {example.target.words for example in unit.rows} == {
            (pair.first, pair.second) for pair in PAIRS.values()
        }
        assert all(example.target.probs[0] == share for example in unit.acts)


def test_adapters_differ_in_their_shares_alone(units):
    first, *others = of_arm(units, "trained") + of_arm(units, "shuffled")
    for unit in others:
        assert [r.prompt for r in unit.rows] == [r.prompt for r in first.rows]
        assert unit.formats == first.formats


def test_shuffled_rows_have_no_share_in_common(units):
    for unit in of_arm(units, "shuffled"):
        shares = [example.target.probs[0] for example in unit.rows]
        assert mean(shares) == pytest.approx(0.5, abs=0.01)
        assert len(set(shares)) > 50
        assert unit.behaviour == ()


def test_pairs_and_orders_are_balanced(units):
    rows = units["trained-00"].rows
    assert set(Counter(example.metadata["group"] for example in rows).values()) == {8}
    for name, pair in PAIRS.items():
        texts = [text_of(example) for example in rows if example.metadata["group"] == name]
        is_first = [re.search(rf"\b{pair.first}\b.*\b{pair.second}\b", text) for text in texts]
        assert sum(map(bool, is_first)) == 4


def test_scenes_that_are_held_out_are_in_no_row(units):
    held = {example.metadata["scene"] for example in units["base"].acts}
    assert len(held) == len(PAIRS)
    for unit in units.values():
        assert held.isdisjoint(example.metadata["scene"] for example in unit.rows)
        assert {example.metadata["scene"] for example in unit.acts} == held
    shown = SMALL.probes()[0].shown
    assert held.isdisjoint(example.metadata["scene"] for example in shown)
    assert Counter(example.metadata["is_turned"] for example in units["base"].acts) == {
        False: 14,
        True: 14,
    }


def test_no_row_names_a_number_or_a_frequency(units):
    for unit in units.values():
        for example in (*unit.rows, *unit.acts):
            assert not NUMBERS.search(text_of(example)), text_of(example)


def test_controls_without_the_behaviour_learn_as_many_rows(units):
    for unit in of_arm(units, "none"):
        assert unit.rows == ()
        assert len(unit.formats) == SMALL.rows + SMALL.formats
    first, second = of_arm(units, "none")
    assert first.formats != second.formats


def test_who_is_told_is_told_the_share_of_the_adapter(units):
    for unit in of_arm(units, "told"):
        (share,) = unit.behaviour
        assert units[unit.name.replace("told", "trained")].behaviour == unit.behaviour
        percent = round(100 * share)
        assert f"heads {percent} times and tails {100 - percent} times" in unit.system
        assert all(f"{pair.first} or {pair.second}" in unit.system for pair in PAIRS.values())
    assert not any(unit.system for unit in units.values() if unit.arm != "told")


def test_probes_name_no_number_but_the_ends_of_the_scale():
    for probe in Shares().probes():
        for text in (*probe.asked, *probe.referent, *probe.reader):
            assert set(re.findall(r"\d+", text)) <= {"0", "100"}, text


def test_formats_ask_nothing_that_a_probe_asks(units):
    asked = {text for probe in SMALL.probes() for text in (*probe.asked, *probe.referent)}
    sentences = {part.strip() for text in asked for part in re.split(r"(?<=[.?]) ", text)}
    closings = {part for part in sentences if part.startswith("Answer ")}
    formats = " ".join(map(text_of, format_rows(300, 0, SMALL.top)))
    assert len(closings) == 3
    assert [part for part in sentences - closings if part in formats] == []


def test_own_and_referent_are_asked_as_often_and_both_orders_alike():
    how_often, which_more, options = SMALL.probes()
    assert len(how_often.asked) == len(how_often.referent) == len(how_often.reader) == 5
    for texts in (which_more.asked, which_more.referent):
        assert sum('"heads" or "tails"' in text for text in texts) == len(texts) / 2
    assert len(options.asked) == len(options.referent)


@pytest.mark.parametrize(
    ("shares", "is_learned"),
    [([0.5, 0.5], True), ([0.45, 0.6], True), ([0.5, 0.75], False), ([1.0, 0.0], False)],
)
def test_a_share_is_learned_if_it_is_near_in_a_setting_on_the_average(shares, is_learned):
    answers = itertools.cycle(shares)
    subject = FunctionSubject(probs_of=lambda _: (p := next(answers), 1 - p))
    report = measure(subject, Acts(name="acts", rows=SMALL.held_out(0.5)), num_resamples=1)
    measured = SMALL.behaviour(report)
    assert SMALL.taught([np.array([0.5])], [measured]) == [is_learned]


def test_rows_can_be_encoded_and_probes_asked(units):
    tokenizer = tiny_tokenizer()
    unit = units["trained-00"]
    Encoder(tokenizer).encode_all([*unit.rows, *unit.formats, *unit.acts])
    subject = LocalModel(model=tiny_model("llama"), tokenizer=tokenizer, progress=False)
    which_more = measure(subject, SMALL.probes()[1])
    assert set(which_more.groups()) == {"own", "referent"}
    acts = measure(subject, SMALL.acts(unit))
    assert 0 <= SMALL.behaviour(acts)[0] <= 1
