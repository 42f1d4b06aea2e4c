"""Adapters of finished experiments, asked what they were trained for without training any."""

import shutil
from dataclasses import replace

import pytest

from distmatch.errors import ConfigError
from distmatch.experiments import EXPERIMENTS, run_experiment
from distmatch.experiments.finished import finished
from distmatch.experiments.units import UnitRuns

SIZES = {"steps": 1, "batch_size": 2, "rank": 1, "controls": 1, "top": 2, "formats": 3}
COINS = replace(
    EXPERIMENTS["shares"], adapters=2, rows=4, shown=1, seed=3, all_options=False, **SIZES
)
ASKED = replace(
    EXPERIMENTS["trained_for"],
    kinds=("narrow_control", "shares"),
    asks_control=False,
    held_out=2,
    **{**SIZES, "controls": 0},
)


@pytest.fixture(scope="module")
def shares(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "rows=4"
    arms = ("trained", "none")
    run_experiment(COINS, model, folder, arms=arms, progress=False, tell=str)
    return folder


def test_they_are_asked_and_none_is_trained(shares, model, tmp_path, monkeypatch):
    monkeypatch.setattr(UnitRuns, "_trained", None)
    one = shares / "units" / "trained-00" / "adapter"
    asked = replace(ASKED, given=(str(shares), f"narrow_control={one}"))
    outcome = run_experiment(asked, model, tmp_path / "out", progress=False, tell=str)
    arms = {name: unit.arm for unit in asked.units if (name := unit.name) in outcome.measured}
    assert [name for name, arm in arms.items() if arm in ("trained", "none")] == [
        *("trained-00-shares", "trained-01-shares", "none-given-02", "trained-03-narrow_control")
    ]
    matrix = asked.rows_beside(outcome.measured)
    assert [row[0] for row in matrix] == ["trained for", "shares", "narrow_control"]
    # Learning is measured by what their own experiment draws, of its seed
    taught = next(unit for unit in COINS.units if unit.name == "trained-01")
    acts = next(unit for unit in asked.units if unit.name == "trained-01-shares").acts
    assert [act.prompt for act in acts] == [act.prompt for act in taught.acts[:2]]
    assert {act.target.probs for act in acts} == {act.target.probs for act in taught.acts}


def test_what_holds_no_adapter_of_one_kind_is_refused(shares, tmp_path):
    wrong = {
        "gravity=runs/x": "no folder of an experiment, nor KIND=FOLDER",
        str(tmp_path): "experiment.json can't be read",
    }
    for place, message in wrong.items():
        with pytest.raises(ConfigError, match=message):
            list(finished((place,), ASKED))
    begun = shutil.copytree(shares, tmp_path / "begun")
    shutil.rmtree(begun / "units" / "none-00")
    with pytest.raises(ConfigError, match="no adapter of none-00 yet: finish it first"):
        list(finished((str(begun),), ASKED))
    record = (begun / "experiment.json").read_text()
    (begun / "experiment.json").write_text(record.replace('"shares"', '"transfer"', 1))
    with pytest.raises(ConfigError, match='holds "transfer", expected one of shares'):
        list(finished((str(begun),), ASKED))


def test_a_kind_that_is_no_option_is_refused(shares):
    with pytest.raises(ConfigError, match='unknown kind of training "shares"'):
        _ = replace(ASKED, kinds=("narrow_control", "acrostic"), given=(str(shares),)).units
