"""`distmatch data`, and what all commands share."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from transformers.trainer_utils import SaveStrategy

from distmatch.cli import main
from distmatch.data import output_control, read_jsonl
from distmatch.data.tasks.numbers import Numbers
from distmatch.errors import MissingExtraError
from distmatch.plots import drawn
from distmatch.tables import to_toml
from tests.cli.small import refusal

ROOT = Path(__file__).parents[2]


def test_data_writes_what_the_generator_draws(tmp_path, capsys):
    argv = ["data", "output_control", "--n", "8", "--n-test", "3", "--words", "3", "2"]
    argv += ["--hold-out", "words", "targets", "--seed", "4", "--phrasings", "percent", "odds"]
    assert main([*argv, "--out", str(tmp_path / "oc")]) == 0
    train, test = output_control(
        n=8,
        n_test=3,
        words=(3, 2),
        hold_out=("words", "targets"),
        seed=4,
        phrasings=("percent", "odds"),
    )
    assert read_jsonl(tmp_path / "oc" / "train.jsonl") == train
    assert read_jsonl(tmp_path / "oc" / "test.jsonl") == test
    assert f"{tmp_path / 'oc' / 'test.jsonl'}: 3 examples" in capsys.readouterr().out


def test_data_takes_a_pool_wordings_and_no_system_message(tmp_path):
    argv = ["data", "output_control", "--n", "4", "--n-test", "0", "--pool", "colours"]
    argv += ["--hold-out", "--wordings", "bare", "--system", "", "--words", "2"]
    assert main([*argv, "--out", str(tmp_path)]) == 0
    for row in read_jsonl(tmp_path / "train.jsonl"):
        assert row.metadata["word_class"] == "colours"
        assert [message["role"] for message in row.prompt] == ["user"]


def test_data_refuses(tmp_path, capsys):
    (tmp_path / "train.jsonl").write_text("kept")
    assert "Did you mean" in refusal(capsys, "data", "output_contrl", "--out", tmp_path)
    told = refusal(capsys, "data", "output_control", "--out", tmp_path, "--hold-out", "word")
    assert 'unknown hold_out axis "word"' in told.replace("hold-out", "hold_out")
    told = refusal(capsys, "data", "output_control", "--out", tmp_path)
    assert f"{tmp_path / 'train.jsonl'} exist already: choose another --out" in told
    assert (tmp_path / "train.jsonl").read_text() == "kept"


def test_data_writes_numbers(tmp_path):
    out = tmp_path / "out"
    assert main(["data", "numbers", "--n", "6", "--kinds", "die", "sum", "--out", str(out)]) == 0
    expected = Numbers(kinds=("die", "sum")).draw(6)
    assert (read_jsonl(out / "train.jsonl"), read_jsonl(out / "test.jsonl")) == expected
    assert main(["data", "numbers", "--words", "2", "--out", str(tmp_path / "other")]) == 2


@pytest.mark.parametrize("argv", [[], ["trian"], ["data", "output_control", "--out", "x", "y"]])
def test_a_malformed_command_shows_its_usage(argv, capsys):
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    assert "usage: distmatch" in capsys.readouterr().err


def test_a_figure_that_cannot_be_drawn_names_the_extra(tmp_path):
    def figure(path):
        raise MissingExtraError('pip install "distmatch[plots]"')

    told = drawn(tmp_path / "calibration.png", figure)
    assert told == f'{tmp_path / "calibration.png"} was not drawn: pip install "distmatch[plots]"'


def test_every_kind_of_value_is_written_so_that_it_is_read_back():
    values = {
        "text": 'a "b" \\ \n \x7f é',
        "small": 1e-05,
        "whole": -3,
        "yes": True,
        "list": [1.5, "x", [], {"a": [2]}],
        "table": {"a key": {"deep": 1}},
        "enum": SaveStrategy.STEPS,
    }
    written = to_toml({"section": values | {"none": None, "list": tuple(values["list"])}})
    assert tomllib.loads(written) == {"section": values}


def test_sections_inside_others_are_written_as_such():
    tables = {"model": {"name": "m"}, "in.a b.c": {"x": 1}, "lora": {}, "in.d": {"y": {"z": 2}}}
    assert tomllib.loads(to_toml(tables)) == {
        "model": {"name": "m"},
        "in": {"a b.c": {"x": 1}, "d": {"y": {"z": 2}}},
        "lora": {},
    }


def test_the_example_is_a_run_file():
    from distmatch.cli.run_files import read_run

    run = read_run(ROOT / "examples" / "output_control.toml")
    assert run.model.name == "smollm2-135m"
    assert run.config.max_steps * run.config.per_device_train_batch_size == run.data["n"]
    broad = read_run(ROOT / "examples" / "broad_control.toml")
    assert broad.data["test_branches"] == "tuning"
    assert [suite.name for suite in broad.suites] == ["carry_over", "ordinary", "knowledge"]
    assert broad.config.max_steps * broad.config.per_device_train_batch_size <= broad.data["n"]


def test_the_guides_complete_example_is_a_run_file(tmp_path):
    from distmatch.cli.run_files import read_run

    guide = (ROOT / "docs" / "run-files.md").read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in guide.split("```toml\n")[1:]]
    (tmp_path / "run.toml").write_text(blocks[0], encoding="utf-8")
    assert read_run(tmp_path / "run.toml").data["task"] == "output_control"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("train", "stopped; go on with --resume"),
        ("sweep", "stopped; started again, it goes on"),
        ("eval", "stopped; started again with the same --out"),
    ],
)
def test_an_interrupt_ends_in_one_line(command, told, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("distmatch.cli._run", interrupted)
    rest = (
        ["smollm2-135m", "--suite", "given", "--out", "there"]
        if command == "eval"
        else ["run.toml"]
    )
    assert main([command, *rest]) == 130
    (line,) = capsys.readouterr().err.split("\n", 1)[1].splitlines()  # below a bar
    assert line.startswith(f"distmatch: {told}")


def test_whoever_reads_only_the_beginning_gets_no_traceback(tmp_path):
    script = "from distmatch.cli import main; raise SystemExit(main())"
    data = [sys.executable, "-c", script, "data", "numbers", "--n", "1", "--n-test", "1"]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [*data, "--out", tmp_path], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, b"")
