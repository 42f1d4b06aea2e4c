"""Suites asked of a sweep's adapters, and what they say of each place."""

import html
import json
import shutil
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from distmatch.claims import claimed
from distmatch.errors import ConfigError
from distmatch.evals import OwnExamples, Report, Suite, measure
from distmatch.evals.items import Items
from distmatch.evals.local import LocalModel
from distmatch.evals.metric import Metric
from distmatch.evals.suites.probes.probe import said_of
from distmatch.experiments import EXPERIMENTS
from distmatch.models.adapters import load_adapter
from tests.sweeps.small import (
    GRID,
    NAMES,
    ONE,
    ONE_NAMES,
    examples,
    remove_line,
    rows,
    small_sweep,
    times,
)
from tests.sweeps.test_layer_sweep import anatomy
from tests.tiny import tiny_model, tiny_tokenizer

FREE = [
    replace(row, target=replace(row.target, other="free")) for row in examples(5, say="Tell")
]  # of the words alone, which a tiny model hardly ever says
ASKED = OwnExamples(rows=FREE)


def by_hand(folder, cell):
    """What a suite says of a cell's adapter on a model that is loaded anew."""
    model = load_adapter(tiny_model("llama"), folder / "cells" / cell)
    subject = LocalModel(model=model, tokenizer=tiny_tokenizer(), progress=False)
    return measure(subject, ASKED).metrics["tvd"]


def test_a_finished_sweep_is_asked_more_and_each_place_is_what_its_adapter_says(folder):
    model, before, was = tiny_model("llama"), rows(folder), times(folder)
    plain = anatomy(model)
    (found,) = small_sweep(folder, model, suites=[ASKED]).suites
    assert anatomy(model) == plain
    assert (rows(folder), times(folder)) == (before, was), "no cell is touched"
    subject = LocalModel(model=model, tokenizer=tiny_tokenizer(), progress=False)
    base = measure(subject, ASKED).metrics["tvd"]
    assert found.base.metrics["tvd"].mean == pytest.approx(base.mean, abs=1e-6)
    assert {place.name for place in found.places} == {n.partition("-rank")[0] for n in NAMES}
    for place in found.places:
        (name,) = (name for name in NAMES if name.startswith(f"{place.name}-"))
        told = by_hand(folder, name)
        assert tuple(found.headline(place)) == pytest.approx(tuple(told), abs=1e-6)
        difference = found.differences[place]
        assert difference.mean == pytest.approx(told.mean - base.mean, abs=1e-6)
        assert difference.low <= difference.mean <= difference.high
    assert any(abs(one.mean) > 1e-4 for one in found.differences.values())


def test_what_was_asked_is_not_asked_again(folder, monkeypatch):
    small_sweep(folder, suites=[ASKED])
    monkeypatch.setattr(OwnExamples, "items", None)
    again = small_sweep(folder, suites=[ASKED])
    assert len(again.suites[0].places) == len(NAMES)
    assert again.report == small_sweep(folder).report


def test_seeds_of_a_place_count_together(tmp_path):
    (found,) = small_sweep(tmp_path, grid=replace(ONE, seeds=(0, 1)), suites=[ASKED]).suites
    for place in found.places:
        means = [by_hand(tmp_path, f"{place.name}-rank2-lr0.01-seed{seed}").mean for seed in (0, 1)]
        assert means[0] != means[1]
        assert found.headline(place).mean == pytest.approx(sum(means) / 2, abs=1e-6)


def test_they_are_in_table_map_page_and_files(folder, drawn):
    found = small_sweep(folder, suites=[ASKED])
    table = found.report[found.report.index("asked besides") :].splitlines()
    assert [row.split("  ")[0] for row in table[2:8]] == ["base", *(f.name for f in found.chosen)]
    (maps, blocks, sites), given = drawn["suite_maps"]
    (name,) = maps
    assert name == "examples: tvd, less the base's"
    for row, block in enumerate(blocks):
        for column, site in enumerate(sites):
            (place,) = (p for p in found.suites[0].places if p.name == f"{site}@{block}")
            one = found.suites[0].differences[place]
            assert maps[name][row, column] == one.mean
            assert given["faint"][name][row, column] == (one.low <= 0 <= one.high)
    (whole,) = (p for p in found.suites[0].places if p.site == "all")
    assert given["references"] == {name: {"all": found.suites[0].differences[whole].mean}}
    kept = json.loads((folder / "report" / "report.json").read_text())["suites"]["examples"]
    assert kept["figure"] == "examples: tvd" and set(kept["places"]) == {
        n.partition("-lr")[0] for n in NAMES
    }
    assert name in html.unescape((folder / "report.html").read_text())


def test_places_that_others_are_at_work_on_are_left_to_them(folder):
    remove_line(folder, NAMES[3])
    with claimed(folder, NAMES[3]):
        (found,) = small_sweep(folder, suites=[ASKED]).suites
    assert {p.name for p in found.places} == {
        n.partition("-rank")[0] for n in NAMES if n != NAMES[3]
    }
    (found,) = small_sweep(folder, suites=[ASKED]).suites
    assert len(found.places) == len(NAMES)


def test_what_another_process_is_asking_is_left_to_it(folder):
    with claimed(folder, f"suites of {NAMES[1]}"):
        (found,) = small_sweep(folder, suites=[ASKED]).suites
    assert len(found.places) == len(NAMES) - 1


def test_other_settings_are_refused_before_anything_is_trained(folder):
    small_sweep(folder, suites=[ASKED])
    other = OwnExamples(rows=FREE[:4])
    with pytest.raises(ConfigError, match="was measured with"):
        small_sweep(folder, grid=replace(GRID, blocks=("2",)), suites=[other])
    assert list(rows(folder)) == NAMES


def test_a_place_that_was_asked_otherwise_is_refused_before_anything_is_trained(folder):
    small_sweep(folder, suites=[ASKED])
    shutil.rmtree(folder / "suites" / "base")
    with pytest.raises(ConfigError, match=r"remove suites/\*/examples there"):
        small_sweep(folder, grid=replace(GRID, blocks=("2",)), suites=[OwnExamples(rows=FREE[:4])])
    assert list(rows(folder)) == NAMES
    shutil.rmtree(folder / "suites")
    assert small_sweep(folder, suites=[OwnExamples(rows=FREE[:4])]).suites[0].places


def test_of_another_base_nothing_that_was_asked_is_kept(tmp_path):
    small_sweep(tmp_path, grid=ONE, suites=[ASKED])
    (tmp_path / "results.jsonl").unlink()
    (found,) = small_sweep(tmp_path, tiny_model("llama", seed=7), grid=ONE, suites=[ASKED]).suites
    other = LocalModel(
        model=tiny_model("llama", seed=7), tokenizer=tiny_tokenizer(), progress=False
    )
    told = measure(other, ASKED).metrics["tvd"]
    assert found.base.metrics["tvd"].mean == pytest.approx(told.mean, abs=1e-6)
    assert len(found.places) == len(ONE_NAMES)


def test_all_seeds_of_a_place_are_asked_whichever_the_grid_has_now(tmp_path):
    small_sweep(tmp_path, grid=replace(ONE, seeds=(0, 1)))
    (found,) = small_sweep(tmp_path, grid=ONE, suites=[ASKED]).suites
    assert {place.name for place in found.places} == {"all@0-3", "mlp@3"}


def test_of_a_probe_what_is_said_of_itself_less_of_another_is_mapped(tmp_path):
    probe = next(one for one in EXPERIMENTS["shares"].probes() if one.name == "how_often")
    probe = replace(probe, reader=(), shown=())  # transcripts are long for a tiny model
    (found,) = small_sweep(tmp_path, grid=ONE, suites=[probe]).suites
    figure = found.metric.name
    assert found.figure == f"how_often: {figure}, own - referent"

    def less(name):
        report = Report.load(tmp_path / "suites" / name / "how_often" / "report.json")
        return said_of(report, "own", figure) - said_of(report, "referent", figure)

    alone = replace(probe, name="alone", referent=())
    (alone_found,) = (
        one
        for one in small_sweep(tmp_path, grid=ONE, suites=[alone]).suites
        if one.suite == "alone"
    )
    assert alone_found.figure == f"alone: {figure}", "nobody else is asked about"
    assert found.base.metrics[figure].mean == pytest.approx(less("base"))
    for place in found.places:
        (name,) = (name for name in ONE_NAMES if name.startswith(f"{place.name}-"))
        assert found.headline(place).mean == pytest.approx(less(name))
        assert found.differences[place].mean == pytest.approx(less(name) - less("base"))


def test_two_suites_of_one_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="two suites are called examples"):
        small_sweep(tmp_path, suites=[ASKED, ASKED])
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True, kw_only=True)
class Chooses(Suite):
    """What is asked depends on what was answered before."""

    name: ClassVar[str] = "chooses"
    question: ClassVar[str] = "What does it choose?"
    metrics = (Metric("share", "chosen"),)

    def items(self, subject):
        answers = subject.answers(examples(1, say="Tell"), self.name)
        told = float(answers.probs[0, 0])
        return Items(
            metadata=({"group": "one", "about": told},),
            ratios={"share": (np.array([told]), np.ones(1))},
        )


def test_a_model_that_decides_what_it_is_asked_is_not_held_against_the_base(tmp_path):
    found = small_sweep(tmp_path, grid=ONE, suites=[Chooses()])
    (one,) = found.suites
    assert len(one.places) == len(ONE_NAMES)
    assert all(d.mean != d.mean for d in one.differences.values())
    assert all(one.headline(place).mean >= 0 for place in one.places)
    assert "chooses: share" in found.report
    assert "what is asked depends on what a model answers" in found.report


def test_seeds_that_were_not_asked_the_same_are_left_out_and_it_is_said(tmp_path):
    found = small_sweep(tmp_path, grid=replace(ONE, seeds=(0, 1)), suites=[Chooses()])
    (one,) = found.suites
    assert not one.places and len(one.left_out) == 2
    assert "its seeds weren't asked the same" in one.notes[1]
