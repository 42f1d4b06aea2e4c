"""The experiments' ledger names what there is, and keeps one line a run."""

import json
from dataclasses import replace

import experiments
from machine import keep_line

from distmatch.experiments import EXPERIMENTS


def test_every_run_is_of_settings_that_there_are():
    entries = experiments.entries()
    assert {entry.name for entry in entries.values()} == set(EXPERIMENTS)
    for name, entry in entries.items():
        if entry.model == "135M":
            told = {**entry.settings}
            told.pop("other_tokenizer", None)  # of a file that isn't here
            replace(EXPERIMENTS[entry.name], precision="bfloat16", **told).check()
        if name.startswith("quick "):  # as a user's, of which controls are points
            assert entry.settings == dict(
                EXPERIMENTS[entry.name].quick, **_tokenizer(entry.settings)
            )
        elif not entry.arms and entry.settings.get("adapters", 4) >= 4:  # else they are points
            assert entry.settings.get("controls", EXPERIMENTS[entry.name].controls) >= 4


def _tokenizer(settings):
    return {key: value for key, value in settings.items() if key == "other_tokenizer"}


def test_a_line_takes_the_place_of_that_of_the_same_run(tmp_path):
    path = tmp_path / "lines.jsonl"
    for run, suite, value in (("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("a", "x", 4)):
        keep_line(path, {"run": run, "suite": suite, "value": value}, by=("run", "suite"))
    assert [json.loads(line)["value"] for line in path.read_text().splitlines()] == [2, 3, 4]
