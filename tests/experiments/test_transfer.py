"""The matrix of transfer, on values of which the truth is known, and whole in miniature."""

from dataclasses import replace

import numpy as np
import pytest

import distmatch.experiments.battery
import distmatch.experiments.transfer
from distmatch.evals import LocalModel, Numbers, measure
from distmatch.experiments import Transfer, TransferMatrix, run_experiment
from distmatch.experiments.battery import Respect, battery
from distmatch.experiments.page import experiment_page
from distmatch.measuring.adapters import difference_interval
from tests.tiny import tiny_model, tiny_tokenizer

MAY_SAY_NOTHING = {"deviation on_time", "deviation follows"}
RESPECTS = (Respect("given", "control_tvd"), Respect("ordinary", "kl"))


def matrix(**rows):
    return TransferMatrix(
        respects=RESPECTS, values={kind: np.array(of, dtype=float) for kind, of in rows.items()}
    )


@pytest.fixture
def known():
    rng = np.random.default_rng(0)
    none = rng.normal((0.3, 0.0), 0.02, size=(4, 2))
    return matrix(
        control=rng.normal((0.05, 0.5), 0.02, size=(4, 2)),
        shares=rng.normal((0.3, 0.0), 0.02, size=(4, 2)),
        one=[[0.1, 0.2]],
        none=none,
    )


def test_differences_are_from_none_by_welch(known):
    found = known.difference("control", RESPECTS[0])
    wanted = difference_interval(known.values["none"][:, 0], known.values["control"][:, 0])
    assert found == wanted
    assert found.high < 0


def test_what_one_training_changes_stands_and_what_none_does_not(known):
    p = known.p
    assert p["control"][RESPECTS[0]] <= 0.05
    assert p["control"][RESPECTS[1]] <= 0.05
    assert min(p["shares"].values()) > 0.05
    assert np.isnan(list(p["one"].values())).all()  # a point
    table = str(known).splitlines()
    (line,) = (row for row in table if row.startswith("ordinary kl"))
    assert line.count("*") == 1
    assert "one 1" in table[-1]


def test_a_respect_without_a_value_of_every_adapter_gets_no_verdict(known):
    known.values["shares"][0, 1] = np.nan
    assert np.isnan(known.p["control"][RESPECTS[1]])
    assert known.p["control"][RESPECTS[0]] <= 0.05


def test_adapters_that_did_not_learn_are_no_row_and_are_counted(known):
    said = replace(known, trained={"control": 4, "one": 4, "risk": 4}).note
    for row in ("control 4, ", "one 1 of 4, the others not taught, ", "risk 0 of 4, "):
        assert row in said


def test_the_map_is_drawn_with_every_value(known, tmp_path):
    figure = known.draw(tmp_path / "matrix.png")
    texts = {text.get_text() for axis in figure.axes for text in axis.texts}
    shown = known.difference("control", RESPECTS[1]).mean
    assert f"{shown:+.2f}" in texts
    assert (tmp_path / "matrix.png").is_file()


def test_the_battery_names_figures_that_its_suites_have():
    for suite, respects in battery(2):
        names = [metric.name for metric in suite.metrics]
        assert {one.figure for one in respects} <= set(names), suite.name
        assert {one.suite for one in respects} == {suite.name}
        suite.check()


def test_the_whole_battery_can_be_asked_and_every_respect_has_a_number():
    subject = LocalModel(model=tiny_model("llama"), tokenizer=tiny_tokenizer(), progress=False)
    taken = {}
    for suite, respects in battery(1):
        report = measure(subject, suite, num_resamples=1)
        taken |= {one: one.of(report) for one in respects}
    assert len({one.name for one in taken}) == len(taken)
    assert {one.name for one, value in taken.items() if np.isnan(value)} <= MAY_SAY_NOTHING
    for one in taken:
        if one.is_less_referent and (own := one._replace(is_less_referent=False)) in taken:
            assert abs(taken[one]) <= 1
            assert taken[own] != taken[one]


def test_it_is_carried_out_in_miniature(model, tmp_path, monkeypatch):
    """With one suite in the battery: those are tested one by one elsewhere."""
    small = ((Numbers(per_kind=1), (Respect("numbers", "tvd"),)),)
    monkeypatch.setattr(distmatch.experiments.transfer, "battery", lambda items: small)
    settings = {"adapters": 2, "controls": 1, "steps": 1, "batch_size": 2, "rank": 1}
    sizes = {"rows": 4, "formats": 3, "held_out": 2, "top": 2, "items": 1, "retained": 4}
    kinds = ("narrow_control", "shares")
    transfer = replace(Transfer(), **settings, **sizes, kinds=kinds)
    told = []
    outcome = run_experiment(transfer, model, tmp_path / "t", progress=False, tell=told.append)
    assert "numbers tvd" in str(outcome)
    found = transfer.matrix(outcome.measured)
    assert found.trained == dict.fromkeys(kinds, 1)  # of one step
    assert {kind: len(of) for kind, of in found.values.items()} == {"shuffled": 1, "none": 1}
    monkeypatch.setattr(Transfer, "taught", lambda self, drawn, measured: [True] * len(drawn))
    everybody = transfer.matrix(outcome.measured).values
    assert {kind: len(of) for kind, of in everybody.items()} == {
        **dict.fromkeys(kinds, 1),
        "shuffled": 1,
        "none": 1,
    }
    assert (tmp_path / "t" / "matrix.png").is_file()
    view = next(view for view in experiment_page(outcome).views if view.title == "Matrix")
    assert view.rows[0][0] == "numbers tvd"
    assert "maxT" in view.note
    few = run_experiment(
        transfer, model, tmp_path / "few", arms=("told", "base"), progress=False, tell=str
    )
    assert (
        "differences from none" not in str(few) and not (tmp_path / "few" / "matrix.png").exists()
    )
    told_one = outcome.measured["told-00-narrow_control"]
    assert set(told_one) == {"trained_for"}
