"""A folder goes on with its own settings only."""

import json
from dataclasses import replace
from functools import partial

import pytest
from accelerate import PartialState

from distmatch.claims import claimed
from distmatch.errors import ConfigError
from tests.sweeps.small import GRID, NAMES, ONE, examples, rows, small_sweep, times
from tests.tiny import tiny_model


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"max_steps": 4}, "train.max_steps: 3 there, 4 here"),
        ({"loss": "jensen_shannon"}, 'train.loss: not set there, "jensen_shannon" here'),
        ({"train": examples(5)}, "data.train: .* there, .* here"),
        ({"tests": {"main": examples(4)}}, "data.test far: .* there, not set here"),
        (
            {"tests": {"far": examples(3, say="Write"), "main": examples(4)}},
            r'data.tests: \["main", "far"\] there, \["far", "main"\] here',
        ),
        ({"model": tiny_model("llama").bfloat16()}, 'base.dtype: "torch.float32" there'),
        ({"model": tiny_model("llama", attn_implementation="eager")}, 'base.attention: "sdpa"'),
        ({"model": tiny_model("llama", seed=1)}, "base.weights: .* there, .* here"),
        ({"model": tiny_model("llama", rms_norm_eps=0.1)}, "base.config.rms_norm_eps: 1e-06 there"),
        (
            {"learning_rate": 0.5},
            r"all@0-3 of rank 2 would have the learning rates 0.01 and 0.5 in ",
        ),
        (
            {"grid": replace(GRID, learning_rates={"mlp": [0.5]})},
            r"mlp@1 of rank 2 would have .* 0.01 and 0.5 .*: leave it one of them, give",
        ),
        ({"tuning": examples(2, say="Tell")}, "data.test tuning: not set there, .* here"),
    ],
)
def test_changed_settings_are_refused_with_the_difference(finished, changed, difference):
    folder, _ = finished
    before = times(folder)
    with pytest.raises(ConfigError, match=difference):
        small_sweep(folder, **changed)
    assert times(folder) == before


def test_settings_that_change_no_result_may_change(folder):
    small_sweep(folder, logging_steps=2, per_device_eval_batch_size=3, seed=5)
    assert list(rows(folder)) == NAMES


def test_a_place_may_go_on_at_another_rate_than_the_one_it_failed_at(folder):
    lines = (folder / "results.jsonl").read_text().splitlines()
    failed = json.loads(lines.pop()) | {"failed": "loss is nan"}
    del failed["metrics"]
    (folder / "results.jsonl").write_text("\n".join([*lines, json.dumps(failed)]) + "\n")
    found = small_sweep(folder, grid=replace(ONE, learning_rates={"mlp": [1e-3]}))
    assert {f.learning_rate for f in found.findings if f.name == "mlp@3"} == {1e-3}
    both = replace(ONE, learning_rates={"mlp": [1e-3, 1e-2]})
    with pytest.raises(ConfigError, match=r"mlp@3 .* would have the learning rates 0.001 and 0.01"):
        small_sweep(folder, grid=both)


def test_settings_that_cannot_be_read_are_refused(folder):
    (folder / "sweep.json").write_text("{")
    with pytest.raises(ConfigError, match=r"sweep.json can't be read"):
        small_sweep(folder)


def test_a_loss_of_the_users_own_is_known_again(tmp_path):
    def squared(log_probs, target, power):
        return (log_probs.exp() - target).pow(power).sum(-1)

    small_sweep(tmp_path, grid=ONE, loss=partial(squared, power=2))
    told = json.loads((tmp_path / "sweep.json").read_text())["train"]["loss"]
    assert told[0].endswith("known_again.<locals>.squared")
    assert told[1:] == [[], {"power": 2}]
    small_sweep(tmp_path, grid=ONE, loss=partial(squared, power=2))
    with pytest.raises(ConfigError, match=r"train\.loss"):
        small_sweep(tmp_path, grid=ONE, loss=partial(squared, power=4))


def test_settings_may_change_while_there_is_no_result(folder, finished):
    (folder / "results.jsonl").unlink()
    probed = (folder / "probe.json").read_text()
    small_sweep(folder, train=examples(5), max_steps=2)
    assert {row["steps"] for row in rows(folder).values()} == {2}
    assert (folder / "probe.json").read_text() != probed


def test_settings_stay_while_a_process_is_at_work(folder):
    (folder / "results.jsonl").unlink()
    with claimed(folder, NAMES[0]), pytest.raises(ConfigError, match=r"train\.max_steps"):
        small_sweep(folder, max_steps=2)


def test_the_device_stays_the_one_of_the_run(tmp_path):
    PartialState._reset_state()
    small_sweep(tmp_path, grid=ONE)
    assert PartialState()._cpu
