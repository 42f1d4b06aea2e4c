"""What `distmatch train` and `distmatch eval` show while they are at work."""

import pytest

from distmatch.cli import main
from distmatch.progress import lines
from tests.cli.small import run_file
from tests.progress.terminal import terminal

SHOWN = {"disable_tqdm": False, "eval_strategy": "steps", "eval_steps": 2}


def test_training_in_a_terminal_has_one_bar_and_leaves_one_line_of_it(model, tmp_path):
    file = run_file(tmp_path, model, train=SHOWN)
    with terminal() as seen:
        assert main(["train", str(file)]) == 0
    assert [line for line in seen.lines if "%|" in line or "| " in line] == []
    (done,) = [line for line in seen.lines if "done in" in line]
    assert done.startswith(f"{tmp_path / 'run'}: done in ")
    assert "before training, examples is measured" in seen.lines
    for told in (
        "[1/3] measuring examples 1/1 |",
        "[2/3] training 2/4, evaluating 0/1 |",
        "[2/3] training 4/4 |",
        "[3/3] measuring examples 1/1 |",
    ):
        assert any(bar.startswith(told) for bar in seen.bars), told


def test_training_into_a_file_writes_lines(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(lines, "SECONDS_BETWEEN_LINES", 0.0)
    assert main(["train", str(run_file(tmp_path, model, train=SHOWN))]) == 0
    told = capsys.readouterr()
    assert "\r" not in told.err + told.out
    shown = told.err.splitlines()
    assert any(line.startswith("[2/3] training 2/4: ") and "loss=" in line for line in shown)
    assert shown[-1].startswith(f"{tmp_path / 'run'}: done in ")


def test_training_says_nothing_where_bars_are_switched_off(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lines, "SECONDS_BETWEEN_LINES", 0.0)
    assert main(["train", str(run_file(tmp_path, model))]) == 0
    assert "training" not in capsys.readouterr().err


def test_suites_are_shown_by_their_numbers_and_leave_nothing(model, tmp_path):
    suites = ["given", "numbers", "given.per_group=1", "numbers.per_kind=1"]
    with terminal() as seen:
        assert main(["eval", str(model), "--suite", *suites, "--out", str(tmp_path / "out")]) == 0
    assert any(bar.startswith("[1/2] measuring given") for bar in seen.bars)
    assert any(bar.startswith("[2/2] measuring numbers") for bar in seen.bars)
    assert [line for line in seen.lines if "measuring" in line] == []


@pytest.fixture(autouse=True)
def _as_often_as_it_changes(monkeypatch):
    monkeypatch.setattr(lines._Terminal, "every", 0.0)
