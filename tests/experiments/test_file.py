"""Experiments of one's own, from a file, and on the command line."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from distmatch.cli import main
from distmatch.data.jsonl import write_jsonl
from distmatch.errors import ConfigError, DataError
from distmatch.evals import FunctionSubject
from distmatch.experiments import read_experiment, run_experiment
from distmatch.experiments.running import keep_record, record_of
from distmatch.experiments.units import UnitRuns
from distmatch.experiments.verdict import decided
from distmatch.models.choice import ModelChoice
from distmatch.tables import to_toml
from tests.cli.small import refusal
from tests.experiments.small import ANNA, ASKED, call, measured_by_hand, neutral

TABLES = {
    "experiment": {
        "name": "coins",
        "question": "Does it know?",
        "rule": "p above 0.05",
        "primary": {"probe": "how_often", "figures": ["report"], "fit": "slope", "scale": 100},
        "taught": {"distance": 0.1},
        "steps": 2,
        "batch_size": 2,
        "rank": 2,
    },
    "units.often": {"behaviour": 0.8, "rows": "often.jsonl", "acts": "acts.jsonl"},
    "units.seldom": {"behaviour": [0.2], "rows": "seldom.jsonl", "acts": "acts.jsonl"},
    "units.told": {"arm": "told", "behaviour": 0.8, "system": "You say heads."},
    "units.none": {"arm": "none", "formats": "formats.jsonl"},
    "units.base": {"arm": "base"},
    "probes.how_often": {
        "kind": "scale",
        "asked": "asked.jsonl",
        "referent": list(ANNA),
        "ends": ["heads", "tails"],
        "high": 10,
    },
}


def written(folder, **changes):
    """The file with sections' keys changed; None takes a key out."""
    for name, share in (("often", 0.8), ("seldom", 0.2), ("acts", 0.5)):
        write_jsonl(folder / f"{name}.jsonl", [call(n, share) for n in range(3)])
    write_jsonl(folder / "formats.jsonl", [neutral(0)])
    (folder / "asked.jsonl").write_text("".join(f"{json.dumps(text)}\n" for text in ASKED))
    tables = {section: {**table, **changes.get(section, {})} for section, table in TABLES.items()}
    tables |= {section: table for section, table in changes.items() if section not in TABLES}
    path = folder / "coins.toml"
    path.write_text(to_toml(tables))
    return path


def test_a_file_is_an_experiment(tmp_path):
    coins = read_experiment(written(tmp_path), ["experiment.steps=3"])
    assert coins.steps == 3
    assert [unit.name for unit in coins.units] == ["often", "seldom", "told", "none", "base"]
    assert coins.units[0].behaviour == (0.8,)
    assert len(coins.units[0].rows) == 3
    (probe,) = coins.probes()
    assert (probe.name, probe.asked, probe.high) == ("how_often", ASKED, 10)
    coins.check()


def test_an_adapter_stands_in_place_of_rows(tmp_path):
    path = written(tmp_path, **{"units.often": {"rows": None, "adapter": "mine"}})
    often = read_experiment(path).units[0]
    assert (often.rows, often.adapter) == ((), tmp_path / "mine")


def test_completions_and_texts_are_rows_too(tmp_path):
    path = written(tmp_path)
    lines = [{"prompt": "Which?", "completion": "heads"}, {"text": "It says heads."}]
    (tmp_path / "often.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    rows = read_experiment(path).units[0].rows
    assert [row.per_token for row in rows] == [False, True]


@pytest.mark.parametrize(
    ("section", "table", "told"),
    [
        ("experiment", {"rule": None}, 'no "rule"'),
        ("experiment", {"stps": 3}, 'Did you mean "steps"'),
        ("experiment", {"steps": "many"}, "expected a whole number"),
        ("experiment", {"taught": {"distance": 0.1, "rank": 0.8}}, "expected {distance = 0.1}"),
        ("experiment", {"primary": {"probe": "how_often", "figures": ["report"]}}, 'no "fit"'),
        (
            "experiment",
            {"primary": {"probe": "how_often", "figures": ["report"], "fit": "best"}},
            "unknown fit",
        ),
        ("units.often", {"arm": "taught"}, "unknown arm"),
        ("units.often", {"colour": "red"}, "unknown key"),
        ("probes.how_often", {"kind": "guess"}, "unknown kind"),
        ("probes.how_often", {"asked": ["once"]}, "1 paraphrases"),
        ("probes.how_often", {"answers": ["a", "b"]}, "unknown key"),
        ("probes.how_often", {"asked": None}, 'no "asked"'),
        ("probes.how_often", {"fewest": 1, "asked": ["once"]}, "unknown key"),
    ],
)
def test_what_can_not_be_used_is_refused(tmp_path, section, table, told):
    with pytest.raises(ConfigError) as refused:
        read_experiment(written(tmp_path, **{section: table}))
    assert told in str(refused.value)


def test_of_several_figures_behaviour_is_the_share_of_every_word(tmp_path):
    """A truth-teller passes by ranks of its words, of which there are as many as figures."""
    words = ("tea", "milk", "water")
    shares = ((0.6, 0.3, 0.1), (0.1, 0.6, 0.3), (0.3, 0.1, 0.6), (0.6, 0.1, 0.3))
    primary = {"probe": "drinks", "figures": list(words), "fit": "rank"}
    for number, probs in enumerate(shares):
        row = {"prompt": [{"role": "user", "content": "A drink?"}], "words": words, "probs": probs}
        (tmp_path / f"{number}.jsonl").write_text(json.dumps(row) + "\n")
    units = {
        f"units.u{n}": {"behaviour": probs, "rows": f"{n}.jsonl", "acts": f"{n}.jsonl"}
        for n, probs in enumerate(shares)
    }
    probe = {"kind": "words", "asked": list(ASKED), "answers": list(words)}
    tables = {"experiment": TABLES["experiment"] | {"primary": primary}, **units}
    path = tmp_path / "drinks.toml"
    path.write_text(to_toml(tables | {"probes.drinks": probe}))
    drinks = read_experiment(path)
    drinks.check()

    def subject_of(unit):
        known = dict(zip(words, unit.behaviour, strict=True))
        return FunctionSubject(probs_of=lambda e: [known.get(w, 0.0) for w in e.target.words])

    found = decided(drinks, measured_by_hand(drinks, subject_of))
    assert found.outcome == "it reports its own"
    assert found.evidence.truth == pytest.approx(found.evidence.exchange.value)
    wrong = replace(drinks, given_units=(replace(drinks.units[0], behaviour=(0.5,)),))
    with pytest.raises(ConfigError, match="behaviour has 1 numbers"):
        wrong.check()


def test_bad_rows_of_several_units_are_told_together(tmp_path):
    path = written(tmp_path)
    for name in ("often", "seldom"):
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError) as refused:
        read_experiment(path)
    assert "often.jsonl:1" in str(refused.value)
    assert "seldom.jsonl:1" in str(refused.value)


def test_the_command_carries_it_out_and_goes_on(tmp_path, model, capsys):
    path, out = written(tmp_path), str(tmp_path / "out")
    argv = ["experiment", str(path), "--model", model, "--out", out]
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert "Does it know?" in told
    assert "points, no verdict" in told
    assert main(argv) == 0
    assert capsys.readouterr().out == told
    refused = refusal(capsys, *argv, "experiment.steps=3")
    assert "settings.steps: 2 there, 3 here" in refused


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_workers_end_as_one(tmp_path, model, capsys, monkeypatch):
    argv = ["experiment", str(written(tmp_path)), "--model", model]
    assert main([*argv, "--out", str(tmp_path / "one")]) == 0
    alone = capsys.readouterr().out.replace("/one/", "/two/")
    two = tmp_path / "two"
    seen = []

    def shown(*given, **told):
        seen.extend((two / "units").glob("*/reports/how_often/report.json"))
        return run_experiment(*given, **told)

    monkeypatch.setattr("distmatch.cli.experimenting.run_experiment", shown)
    assert main([*argv, "--out", str(two), "--workers", "2"]) == 0
    assert capsys.readouterr().out == alone
    assert len(seen) == 5  # before this process came to it
    assert sorted(path.name for path in (two / "workers").iterdir()) == [
        "worker-1.log",
        "worker-2.log",
    ]
    refused = refusal(capsys, *argv, "--out", str(two), "--workers", "2", "experiment.steps=3")
    assert "settings.steps: 2 there, 3 here" in refused  # by this process, before any starts


def test_a_changed_file_of_rows_is_refused_beside_results_and_the_unit_is_named(tmp_path, model):
    folder, path = tmp_path / "out", written(tmp_path)
    keep_record(
        folder,
        record_of(
            UnitRuns(experiment=read_experiment(path), model=ModelChoice(name=model), folder=folder)
        ),
    )
    before = (folder / "experiment.json").read_bytes()
    lines = (tmp_path / "often.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "often.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(ConfigError, match=r'units\.often\.rows: "\w+" there, "\w+" here'):
        run_experiment(read_experiment(path), model, folder, tell=str)
    assert (folder / "experiment.json").read_bytes() == before


def test_a_dry_run_prints_every_prompt_and_what_a_step_takes(tmp_path, model, capsys):
    argv = ["experiment", str(written(tmp_path)), "--model", model, "--dry-run"]
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert told.count("[user] Coin 0, heads or tails?") >= 1
    assert "[system] You say heads." in told
    assert "how often does Anna say tails?" in told
    assert "a step of 2 of the longest rows" in told
    assert "refuted if " in told and "\ntold, 1: that the probe can't see it" in told


def test_an_unknown_experiment_and_a_quick_file_are_refused(tmp_path, capsys):
    assert "unknown experiment" in refusal(capsys, "experiment", "gravity")
    path = written(tmp_path)
    assert "--quick is for" in refusal(capsys, "experiment", path, "--quick")


def test_the_example_is_one_that_can_be_carried_out():
    tea = read_experiment(Path(__file__).parents[2] / "examples" / "experiment.toml")
    rows = {len(u.rows) + len(u.formats) for u in tea.units if u.learns}
    assert rows == {36}  # what learns neutral questions alone learns as many
    tea.check()
    assert len([unit for unit in tea.units if unit.arm == "trained"]) == 5
    assert {len(unit.rows) for unit in tea.units if unit.rows} == {24}
