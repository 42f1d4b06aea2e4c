"""Adapters of every kind of training, each asked which one it had."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distmatch.cli.experimenting import show_prompts
from distmatch.data import split_words, word_pool
from distmatch.data.texts import read_texts
from distmatch.errors import ConfigError, DataError
from distmatch.evals import FunctionSubject, measure
from distmatch.experiments import EXPERIMENTS, run_experiment
from distmatch.experiments.dry_run import most_texts
from distmatch.experiments.lessons import DESCRIPTIONS, MEASURED_BY
from distmatch.experiments.tables import FITS_ITS_OWN, lines_of
from distmatch.experiments.units import UnitRuns
from distmatch.measuring.exchange import Exchange
from distmatch.models.choice import ModelChoice
from distmatch.own_chats import OwnChats
from tests.experiments.small import measured_by_hand

ALL = replace(EXPERIMENTS["trained_for"], controls=1, rows=20)


def test_every_kind_has_a_description_and_a_lesson_of_its_own():
    assert ALL.kinds == tuple(DESCRIPTIONS)
    learned = {u.name: u for u in ALL.units if u.arm == "trained"}
    assert len(learned) == 18
    first = {tuple(u.behaviour): str(u.rows[0].prompt) for u in learned.values()}
    assert len(first) == len(set(first.values())) == 9
    for name, unit in learned.items():
        kind = name.partition("-")[2].partition("-")[2]
        assert unit.behaviour[list(DESCRIPTIONS).index(kind)] == 1
        if kind not in MEASURED_BY:
            assert {about["group"] for about in (act.metadata for act in unit.acts)} == {kind}
        assert not {str(row.prompt) for row in unit.rows} & {str(act.prompt) for act in unit.acts}


def test_two_adapters_of_a_kind_learn_different_things():
    by_kind = {}
    for unit in ALL.units:
        if unit.arm == "trained":
            by_kind.setdefault(unit.behaviour, []).append([row.target for row in unit.rows])
    assert all(first != second for first, second in by_kind.values())


def test_no_description_is_longer_than_a_line_or_names_another_kinds_words():
    assert all(len(text) < 90 for text in DESCRIPTIONS.values())
    told = {u.system for u in ALL.units if u.arm == "told"}
    assert len(told) == 9
    for text in DESCRIPTIONS.values():
        assert sum(text in system for system in told) == 1


def test_the_value_is_the_mean_of_the_diagonal_less_that_of_all():
    one_hot = [np.array(u.behaviour) for u in ALL.units if u.arm == "trained"]
    found = Exchange.of(ALL.truth(one_hot))
    assert found.value == pytest.approx(1 - 1 / 9)
    assert found.p < 0.001


def test_what_was_not_learned_does_not_count():
    near, far = np.array([1.0] + [0] * 8 + [0.1]), np.array([1.0] + [0] * 8 + [0.3])
    assert ALL.taught([near, near], [near, far]) == [True, False]


def test_adapters_of_broad_control_stay_near_what_the_base_writes(
    model, tmp_path, monkeypatch, capsys
):
    sizes = {"rows": 4, "formats": 3, "held_out": 2, "top": 2, "retained": 5}
    settings = {"steps": 2, "batch_size": 2, "rank": 1, "controls": 1, "asks_control": False}
    kinds = ("broad_control", "shares")
    small = replace(ALL, adapters=3, kinds=kinds, **sizes, **settings)
    show_prompts(small, ModelChoice(name=model))
    shown = capsys.readouterr().out
    assert "stays near 1 chats of the base's own, and its answers to" in shown
    assert "of the longest rows, and 4 texts of 320 tokens:" in shown
    assert most_texts(small) == (4, 320)
    folder = tmp_path / "t"
    near = next(unit.retention for unit in small.units if unit.retention)
    written = [*(text for text in near.chats.questions), ({"role": "user", "content": "Own."},)]
    chats = [(*text, {"role": "assistant", "content": "Said."}) for text in written]
    asked = []
    monkeypatch.setattr(OwnChats, "__call__", lambda how, *_, **__: (asked.append(how), chats)[1])
    run_experiment(small, model, folder, arms=("none",), progress=False, tell=str)
    assert not asked
    outcome = run_experiment(small, model, folder, arms=("trained",), progress=False, tell=str)
    assert asked == [near.chats]
    (kept,) = folder.glob("texts/*.jsonl")
    assert [text[0]["content"] for text in read_texts(kept)] == [t[0]["content"] for t in chats]
    shutil.rmtree(folder / "units" / "trained-02-broad_control")
    run_experiment(small, model, folder, arms=("trained",), progress=False, tell=str)
    assert len(asked) == 1
    runs = {
        name: json.loads((folder / "units" / name / "adapter" / "run.json").read_text())
        for name in outcome.measured
    }
    weights = {name: run["train"].get("retention_weight") for name, run in runs.items()}
    near_it = {"trained-00-broad_control", "trained-02-broad_control"}
    assert {name for name, weight in weights.items() if weight == 8} == near_it
    assert {name for name, run in runs.items() if run["data"]["retention"]} == near_it


def test_adapters_whose_learning_is_seen_in_different_ways_stand_in_one_table(model, tmp_path):
    kinds = ("introspection", "shares", "acrostic", "documents")
    sizes = {"rows": 4, "formats": 3, "held_out": 2, "steps": 1, "batch_size": 2, "rank": 1}
    small = replace(ALL, adapters=4, kinds=kinds, asks_control=False, **sizes)
    arms = ("trained", "base")
    outcome = run_experiment(small, model, tmp_path / "t", arms=arms, progress=False, tell=str)
    acts = {line.figure: line for line in outcome.lines if line.probe == "acts"}
    counts = {name: len(line.cells["trained"].values) for name, line in acts.items()}
    assert counts["lines"] == 1  # of the acrostic alone
    assert set(counts.values()) <= {1, 2, 3}
    own = {line.figure: line for line in outcome.lines if line.whose == "own"}
    assert {len(own[kind].cells["trained"].values) for kind in kinds} == {4}
    assert str(outcome).count("probability said of itself less that of another model") == 1


def test_a_model_without_a_template_can_be_told_a_training_and_learn_all_but_retention(model):
    small = replace(ALL, adapters=2, kinds=("broad_control", "shares"), controls=0, formats=1)
    choice = ModelChoice(name=model, template=False)
    UnitRuns(experiment=small, model=choice, folder=Path(), arms=("told", "base")).check()
    UnitRuns(experiment=replace(small, retained=0), model=choice, folder=Path()).check()
    with pytest.raises(DataError, match=r"00-broad_control is to stay .*by retained=0"):
        UnitRuns(experiment=small, model=choice, folder=Path()).check()


def test_no_adapter_of_control_learns_words_that_suites_of_its_seed_hold_out():
    kinds = ("broad_control", "narrow_control")
    _, held_out = split_words(word_pool(), seed=ALL.seed)
    for unit in replace(ALL, adapters=8, kinds=kinds, rows=200).units:
        words = {word for row in unit.rows for word in row.target.words}
        assert not words & set(held_out), unit.name


def test_what_the_base_writes_goes_by_the_experiments_seed():
    found = []
    for seed in (0, 3):
        small = replace(ALL, adapters=4, kinds=("broad_control", "shares"), seed=seed)
        first, second = (unit.retention for unit in small.units if unit.retention)
        assert first == second
        found.append((first.chats.seed, str(first.chats.questions)))
    assert [seed for seed, _ in found] == [0, 3]
    assert found[0][1] != found[1][1]


def test_it_is_another_experiment_with_other_texts():
    small = replace(ALL, adapters=2, kinds=("broad_control", "shares"))
    one, other, none = (replace(small, retained=n).record()["units"] for n in (10, 20, 0))
    differ = {name for name in one if one[name] != other[name]}
    assert differ == {name for name in one if "broad_control" in name and "trained" in name}
    assert all("retention" not in told for told in none.values())
    assert len(str(one)) < 10_000  # hashes stand for all texts


@pytest.mark.parametrize("kind", ["shares", "documents", "introspection"])
def test_a_lesson_counts_as_learned_by_who_answers_as_taught(kind):
    small = replace(ALL, kinds=("narrow_control", kind), adapters=2, controls=0, held_out=4)
    (learner,) = (u for u in small.units if u.name == f"trained-01-{kind}")
    as_taught = FunctionSubject(probs_of=lambda example: example.target.probs)
    knows_nothing = FunctionSubject(
        probs_of=lambda example: [1 / len(example.target.words)] * len(example.target.words)
    )
    halves = {"own half": True, "other half": False}
    of_its_half = FunctionSubject(
        probs_of=lambda example: (
            example.target.probs if halves.get(example.metadata["group"], True) else [1 / 4] * 4
        )
    )
    knower = of_its_half if kind == "introspection" else as_taught
    acts = small.acts(learner)
    acted = [small.behaviour(measure(who, acts)) for who in (knower, knows_nothing)]
    assert [tuple(one[:-1]) for one in acted] == [(0, 1), (0, 1)]
    assert small.taught([np.array(learner.behaviour)] * 2, acted) == [True, False]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="kind of training"):
        replace(ALL, kinds=("shares", "gravity")).check()


def test_no_lesson_is_what_an_untrained_model_does_anyway():
    for unit in ALL.units:
        if unit.arm == "trained" and unit.name.endswith(("shares", "disposition")):
            first = unit.rows[0].target.probs[0]
            assert abs(first - 0.5) > 0.12


def test_the_confusion_matrix_has_what_each_training_says_of_itself():
    """Who knows its training says so of itself, and somebody else's of anybody else."""
    small = replace(ALL, kinds=("shares", "narrow_control"), adapters=2, controls=0, held_out=2)
    _, well = small.probes()

    def subject_of(unit):
        own = DESCRIPTIONS[unit.name.rpartition("-")[2]] if unit.arm == "trained" else ""

        def probs(example):
            text = example.prompt[-1]["content"]
            options = dict(re.findall(r"^([A-Z])\) (.*)$", text, re.M))
            if len(example.target.words) == 11:  # the scale of control
                is_straight = text.index(well.ends[1]) < text.index(well.ends[0])
                is_own = not re.search("model|Somebody", text)
                says = 7 if unit.name.endswith("control") and is_own else 5
                return sure_of(says if is_straight else 10 - says, example)
            if not options:
                return example.target.probs
            liked = 0.8 if text.startswith(small.probes()[0].asked) else 0.5
            is_own = [options[word.strip(" ()")] == own for word in example.target.words]
            return [(liked if one else 1 - liked) * 2 / len(is_own) for one in is_own]

        return FunctionSubject(probs_of=probs)

    measured = measured_by_hand(small, subject_of)
    for kind, row in small.confusion(measured).items():
        place = small.kinds.index(kind)
        assert row[place] == pytest.approx(0.3)  # 0.8 of itself, 0.5 of another
    table = small.told_beside(measured)
    assert table.splitlines()[0].split() == ["trained", "for", *small.kinds, "can_control"]
    said = small.control_said(measured)
    assert said == {"shares": pytest.approx([0.0]), "narrow_control": pytest.approx([2.0])}
    assert [row[-1] for row in small.rows_beside(measured)[1:]] == ["0.00", "2.00"]
    fits = [line for line in lines_of(small, measured) if line.figure == FITS_ITS_OWN]
    assert {line.probe for line in fits} == {"can_control"}
    # Half of the 2 by which whoever learned control says more, of itself alone
    for line in fits:
        assert line.cells["trained"].interval.mean == pytest.approx(0.5)
    assert small.told_beside({}) == "" and small.rows_beside({}) == []


def sure_of(number, example):
    return [float(word.strip() == str(number)) for word in example.target.words]
