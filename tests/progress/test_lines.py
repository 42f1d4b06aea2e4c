"""One bar in a terminal and in a notebook, and in a log a line a minute."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distmatch.progress import is_at_work, phase, say, show, work
from tests.progress.terminal import terminal

ROOT = Path(__file__).parents[2]


def two_parts():
    """A work of two parts, the second with something inside, and something said."""
    with work("all of it", ["first", "second"]):
        with phase("first", 3) as first:
            for _ in range(3):
                first.advance()
        say("the first is done")
        with phase("second") as second:
            second.told = "loss={0.5}"
            with phase("counting", 2) as counting:
                logging.getLogger("somebody").warning("heard above the bar")
                counting.advance()
                show(now=True)


def test_a_terminal_shows_one_bar_below_what_is_said():
    with terminal() as seen:
        two_parts()
    assert seen.lines == ["the first is done", "heard above the bar", "all of it: done in 00:00"]
    assert any(re.match(r"\[1/2\] first \d/3 \|.*\| *\d+% 00:00", bar) for bar in seen.bars)
    assert any(re.match(r"\[2/2\] second, counting 1/2 \|", bar) for bar in seen.bars)
    assert any(bar.endswith("loss={0.5}") for bar in seen.bars)


def test_a_phase_alone_leaves_nothing():
    with terminal() as seen, phase("measuring", 2) as measuring:
        measuring.advance()
    assert seen.bars
    assert "".join(seen.lines) == ""


def test_a_log_has_a_line_a_minute_and_no_carriage_return(clock, capsys):
    with work("all of it", ["training"]), phase("training", 10) as training:
        for step in range(1, 11):
            clock.now = step * 30.0
            training.advance()
    assert capsys.readouterr().err.splitlines() == [
        *(f"training {n}/10: {n}0%, 0{n // 2}:00, 0{5 - n // 2}:00 left" for n in (2, 4, 6, 8)),
        "training 10/10: 100%, 05:00, 00:00 left",
        "all of it: done in 05:00",
    ]


def test_a_short_work_leaves_nothing_in_a_log(capsys):
    two_parts()
    out, err = capsys.readouterr()
    assert out == "the first is done\n"
    assert "%" not in err
    assert "done in" not in err


def test_without_a_line_nothing_inside_has_one():
    with terminal() as seen, work("all of it", shown=False), phase("inside", 2) as inside:
        inside.advance()
    assert seen.written == ""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_nothing_goes_on(error):
    with terminal() as seen, pytest.raises(error), phase("outer", 2), phase("inner", 2):
        raise error
    assert not is_at_work()
    assert "".join(seen.lines) == ""


TALKING = """
from distmatch.progress import phase, work
with work("all of it", ["one"]), phase("one", 2) as one:
    one.advance()
"""


@pytest.mark.parametrize("setting", [{}, {"TQDM_DISABLE": "1"}])
def test_tqdms_own_switch_is_obeyed(setting):
    theirs, ours = os.openpty()
    done = subprocess.run(
        [sys.executable, "-c", TALKING],
        cwd=ROOT,
        env=os.environ | setting,
        stderr=ours,
        stdout=subprocess.PIPE,
    )
    os.write(ours, b".")
    told = os.read(theirs, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, told
    assert ("all of it: done in" in told) == (not setting)
    assert (told == ".") == bool(setting)


CELL = """
import distmatch
from tqdm.auto import tqdm
from distmatch.progress import phase, say, work
with work("all of it", ["one", "two"]):
    for name in ("one", "two"):
        with phase(name, 30) as counting:
            for _ in range(30):
                counting.advance()
"""


def test_a_notebook_has_one_line_in_the_end():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, resources={"metadata": {"path": str(ROOT)}}).execute()
    (shown,) = notebook.cells[0].outputs  # nothing either of what tqdm says of ipywidgets
    assert shown["data"] == {"text/plain": "all of it: done in 00:00"}
