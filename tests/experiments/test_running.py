"""An experiment from its rule to its verdict, on a tiny model."""

import gc
import json
import shutil
import weakref
from dataclasses import replace

import pytest

from distmatch.cli import main
from distmatch.cli.experimenting import show_prompts
from distmatch.data.jsonl import read_jsonl
from distmatch.errors import ConfigError, DistmatchError, LoadError
from distmatch.evals.suites.probes import WrittenProbe
from distmatch.experiments import read_outcome, run_experiment
from distmatch.experiments.arms import Unit
from distmatch.experiments.places import check_no_adapters
from distmatch.models.choice import ModelChoice
from tests.experiments.small import ASKED, HOW_OFTEN, experiment, neutral

told_half = Unit(name="x", arm="told", behaviour=(0.5,), system="You say heads half the time.")
WRITTEN = WrittenProbe(name="how_often", asked=ASKED, rules={"heads": "heads"})
UNITS = ["trained-0", "trained-1", "told-0", "told-1", "none-0", "base"]


def test_every_unit_is_trained_and_asked_and_the_verdict_is_kept(finished):
    folder, outcome, told = finished
    assert sorted(outcome.measured) == sorted(UNITS)
    assert set(outcome.measured["trained-0"]) == {"acts", "how_often"}
    assert set(outcome.measured["told-0"]) == {"how_often"}
    assert (folder / "units" / "trained-1" / "adapter" / "adapter_model.safetensors").is_file()
    assert not (folder / "units" / "told-0" / "adapter").exists()
    assert not list(folder.rglob("checkpoint-*"))
    kept = json.loads((folder / "verdict.json").read_text())
    assert kept["outcome"] == outcome.verdict.outcome == "points, no verdict"
    assert "was not drawn" in told[1]  # a random model answers no scale
    assert told[0] == (folder / "table.txt").read_text().rstrip("\n")
    assert "it is refuted if p above 0.05 by exchange" in told[0]
    record = json.loads((folder / "experiment.json").read_text())
    assert len(record["rule_sha256"]) == 64


def test_in_a_notebook_the_question_is_shown_and_not_run(finished):
    _, outcome, _ = finished
    asked = replace(outcome.experiment, question="Is it <script>run()</script>?")
    shown = replace(outcome, experiment=asked)._repr_html_()
    assert "Is it &lt;script&gt;run()&lt;/script&gt;?" in shown
    assert "<script" not in shown
    assert shown.count("<tr>") == 1 + len(outcome.lines)
    assert "points, no verdict" in shown
    assert "<img" not in shown  # a random model answers no scale


def test_the_told_are_asked_behind_their_rule(finished):
    _, outcome, _ = finished
    prompts = outcome.measured["told-1"]["how_often"].items.prompts
    assert {prompt[0]["content"] for prompt in prompts} == {"You say heads 80%."}
    assert outcome.measured["base"]["how_often"].items.prompts[0][0]["role"] == "user"


def test_formats_are_answered_as_the_base_would(finished, model):
    import distmatch as dm

    folder, _, _ = finished
    rows = read_jsonl(folder / "units" / "none-0" / "formats.jsonl")
    loaded, tokenizer = dm.load_model(model)
    asked = neutral(0)
    scores = dm.score(
        loaded, tokenizer, asked.prompt, asked.target.words, boundary="end_of_word"
    ).log_probs.exp()
    assert rows[0].target.probs == pytest.approx((scores / scores.sum()).tolist(), rel=1e-4)


def test_adapters_that_are_there_already_are_asked_and_not_trained(
    finished, model, tmp_path, monkeypatch, capsys
):
    folder, outcome, _ = finished
    units = [
        replace(unit, rows=(), formats=(), adapter=folder / "units" / unit.name / "adapter")
        if unit.learns
        else unit
        for unit in outcome.experiment.units
    ]
    given = replace(outcome.experiment, given_units=tuple(units))
    monkeypatch.setattr("distmatch.experiments.units.perform", None)
    show_prompts(given, ModelChoice(name=model))
    assert "nothing is trained: all adapters are there already" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"trained-0 .* can't be trained in one place"):
        check_no_adapters(given)
    again = run_experiment(given, model, tmp_path / "coins", progress=False, tell=str)
    for name, reports in outcome.measured.items():
        for suite, report in reports.items():
            assert again.measured[name][suite].rows() == report.rows()
    (learner,) = (unit for unit in units if unit.name == "trained-0")
    shutil.copytree(learner.adapter, tmp_path / "other")
    (tmp_path / "other" / "adapter_config.json").write_text(
        (learner.adapter / "adapter_config.json").read_text() + "\n"
    )
    other = replace(given, given_units=(replace(learner, adapter=tmp_path / "other"), *units[1:]))
    with pytest.raises(ConfigError, match=r"units\.trained-0\.adapter"):
        run_experiment(other, model, tmp_path / "coins", tell=str)
    base = tmp_path / "other" / "base.json"
    was = base.read_text()
    base.write_text(was.replace('"weights": "', '"weights": "0'))
    with pytest.raises(LoadError, match=r"trained on another base.* other weights"):
        run_experiment(other, model, tmp_path / "first", progress=False, tell=str)
    assert not list((tmp_path / "first").glob("units/*/reports/*/report.json"))
    base.write_text(was)
    base.write_text(base.read_text().replace('"hidden_size": 48', '"hidden_size": 64'))
    monkeypatch.setattr(ModelChoice, "load", None)
    with pytest.raises(LoadError, match=r"trained on another base.* hidden_size 64, here 48"):
        run_experiment(other, model, tmp_path / "anew", tell=str)
    assert not (tmp_path / "anew").exists()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"rows": ()}, LoadError, "nowhere is not a directory"),
        ({}, ConfigError, "trained-0 has an adapter that is there already, and rows"),
        ({"rows": (), "arm": "base"}, ConfigError, "that arm is the base alone"),
    ],
)
def test_an_adapter_that_is_not_there_or_not_alone_is_refused(changed, error, message, tmp_path):
    coins = experiment((0.2, 0.8))
    first, *others = coins.units
    given = replace(first, **({"formats": ()} | changed), adapter=tmp_path / "nowhere")
    with pytest.raises(error, match=message):
        replace(coins, given_units=(given, *others)).check()


def test_started_again_it_does_nothing_anew(finished, model, tmp_path, monkeypatch):
    folder, outcome, _ = finished
    copied = shutil.copytree(folder, tmp_path / "coins")
    monkeypatch.setattr("distmatch.models.choice.ModelChoice.load", None)
    again = run_experiment(outcome.experiment, model, copied, progress=False, tell=str)
    assert again.verdict.to_json() == outcome.verdict.to_json()


@pytest.mark.parametrize(
    "lost",
    [
        "units/trained-1",
        "units/trained-1/reports/how_often",
        "units/trained-1/adapter",
        "verdict.json",
    ],
)
def test_cut_short_and_started_again_it_comes_to_the_same(finished, model, tmp_path, lost):
    folder, outcome, _ = finished
    copied = shutil.copytree(folder, tmp_path / "coins")
    path = copied / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = run_experiment(outcome.experiment, model, copied, progress=False, tell=str)
    assert (copied / "verdict.json").read_text() == (folder / "verdict.json").read_text()
    rows = again.measured["trained-1"]["how_often"].rows()
    assert rows == outcome.measured["trained-1"]["how_often"].rows()


def test_units_are_trained_and_asked_in_the_precision_asked_for(model, tmp_path):
    mixed = experiment((0.2,), told=False, precision="bfloat16")
    run_experiment(mixed, model, tmp_path / "coins", progress=False, tell=str)
    unit = tmp_path / "coins" / "units" / "trained-0"
    assert json.loads((unit / "adapter" / "run.json").read_text())["train"]["bf16"] is True
    kept = json.loads((unit / "reports" / "how_often" / "settings.json").read_text())
    assert "bfloat16" in json.dumps(kept)


def test_what_is_there_is_read_without_a_model(finished, tmp_path):
    folder, outcome, _ = finished
    copied = shutil.copytree(folder, tmp_path / "coins")
    shutil.rmtree(copied / "units" / "trained-1")
    read = read_outcome(outcome.experiment, copied)
    assert sorted(read.measured) == sorted(set(UNITS) - {"trained-1"})
    with pytest.raises(ConfigError, match="holds no experiment"):
        read_outcome(outcome.experiment, tmp_path / "nothing")
    with pytest.raises(ConfigError, match="seed: 0 there, 5 here"):
        read_outcome(replace(outcome.experiment, seed=5), folder)


def test_another_rule_or_setting_is_refused_with_the_difference(finished, model):
    folder, outcome, _ = finished
    kept = (folder / "verdict.json").read_text()
    for changed, told in (
        (replace(outcome.experiment, rule="something else"), "rule: "),
        (replace(outcome.experiment, steps=3), "settings.steps: 2 there, 3 here"),
    ):
        with pytest.raises(ConfigError) as refused:
            run_experiment(changed, model, folder, progress=False)
        assert told in str(refused.value)
    assert (folder / "verdict.json").read_text() == kept


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arms": ("trained", "base")}, "arm"),
        ({"given_units": (Unit(name="x", arm="base"),) * 2}, "two units called x"),
        ({"given_units": (Unit(name="x", arm="trained"),)}, "x of the arm trained has no rows"),
        ({"given_units": (Unit(name="x", arm="told", behaviour=(0.1,)),)}, "told has no system"),
        ({"given_units": (Unit(name="x", arm="none"),)}, "none has no formats"),
        (
            {"given_units": tuple(replace(told_half, name=name) for name in "ab")},
            "same behaviour",
        ),
        ({"given_units": (replace(told_half, behaviour=(0.1, 0.9)),)}, "2 numbers"),
        ({"steps": 0}, "steps is 0, expected at least 1"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"precision": "int8"}, r'\.precision: unknown dtype "int8"'),
        ({"given_probes": (WRITTEN,), "thinking": "low"}, "can't be answered behind thoughts"),
        ({"given_primary": "nowhere"}, "unknown probe"),
        ({"given_primary": "nothing"}, "unknown figure"),
    ],
)
def test_what_can_not_be_carried_out_is_refused_before_a_model_is_loaded(change, told, tmp_path):
    coins = experiment((0.2, 0.8))
    primary = change.get("given_primary")
    if primary is not None:
        probe, figure = ("nowhere", "report") if primary == "nowhere" else ("how_often", "nothing")
        change = {"given_primary": replace(coins.given_primary, probe=probe, figures=(figure,))}
    with pytest.raises(ConfigError, match=told):
        run_experiment(replace(coins, **change), "no/such/model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [({"target": "mpl"}, "mpl"), ({"target": "mlp@9"}, "9"), ({"rank": 0}, "rank is 0")],
)
def test_what_the_model_does_not_have_is_refused_before_it_is_loaded(
    change, told, model, tmp_path, monkeypatch
):
    monkeypatch.setattr("distmatch.models.choice.ModelChoice.load", None)
    with pytest.raises(DistmatchError, match=told):
        run_experiment(replace(experiment((0.2, 0.8)), **change), model, tmp_path / "out")


def test_of_the_model_one_copy_is_kept_while_an_adapter_is_trained(model, tmp_path, monkeypatch):
    """What is asked before is let go, and the adapter before, too."""
    alive, load = [], ModelChoice.load

    def counted(choice):
        gc.collect()
        alive.append(sum(one() is not None for one in seen))
        loaded = load(choice)
        seen.append(weakref.ref(loaded[0]))
        return loaded

    seen = []
    monkeypatch.setattr(ModelChoice, "load", counted)
    coins = replace(experiment((0.2, 0.8), probe=replace(HOW_OFTEN, high=2)), steps=1)
    run_experiment(coins, model, tmp_path / "out", progress=False, tell=str)
    assert len(alive) == 5
    assert max(alive) <= 1


def test_another_batch_size_is_no_other_experiment(finished, model):
    folder, outcome, _ = finished
    again = run_experiment(
        outcome.experiment, model, folder, batch_size=3, progress=False, tell=str
    )
    assert again.verdict.to_json() == outcome.verdict.to_json()


def test_single_arms_are_carried_out_first_and_the_others_later(finished, model, tmp_path):
    _, outcome, _ = finished
    coins, folder = outcome.experiment, tmp_path / "coins"
    first = run_experiment(coins, model, folder, arms=("told", "base"), progress=False, tell=str)
    assert sorted(first.measured) == ["base", "told-0", "told-1"]
    assert not list(folder.rglob("adapter"))
    with pytest.raises(ConfigError, match='unknown arm "tolt"'):
        run_experiment(coins, model, folder, arms=("tolt",), progress=False)


def test_arms_are_listed_by_commas_so_that_settings_may_follow(capsys):
    assert main(["experiment", "shares", "--arms", "told,nobody", "adapters=2"]) == 2
    assert 'unknown arm "nobody"' in capsys.readouterr().err
