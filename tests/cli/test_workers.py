"""Several processes at one command."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from distmatch.cli import main, workers
from distmatch.cli.workers import WorkerError, check_workers, run_workers
from distmatch.errors import ConfigError
from tests.cli.small import refusal
from tests.cli.test_sweeping import CELLS, model, results, run_file  # noqa: F401 - a fixture


@pytest.fixture
def of_code(monkeypatch):
    """Lets workers run other code, with the arguments as `sys.argv[1:]`."""
    return lambda code: monkeypatch.setattr(workers, "_START", code)


def test_each_has_its_share_of_the_cores(of_code, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    of_code("import os, sys; print(os.environ['OMP_NUM_THREADS'], *sys.argv[1:])")
    run_workers(["sweep", "a file"], 3, tmp_path / "logs")
    told = [path.read_text() for path in sorted((tmp_path / "logs").iterdir())]
    assert told == ["2 sweep a file\n"] * 3


def test_one_that_fails_is_named_when_the_others_have_ended(of_code, tmp_path):
    of_code(
        "import os, sys, time; from pathlib import Path\n"
        "folder = Path(sys.argv[1])\n"
        "if not (folder / 'first').exists():\n"
        "    (folder / 'first').touch(); time.sleep(1); (folder / 'done').touch(); sys.exit()\n"
        "print('no room left', file=sys.stderr); sys.exit(2)"
    )
    with pytest.raises(WorkerError, match=r"worker-\d ended with an error"):
        run_workers([str(tmp_path)], 2, tmp_path / "logs")
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_ends_the_command_ends_all_of_them(number, tmp_path):
    waiting = (
        "import signal, sys; from pathlib import Path; from distmatch.cli import workers\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "workers._START = 'import os, sys, time, pathlib;"
        " pathlib.Path(sys.argv[1], str(os.getpid())).touch(); time.sleep(600)'\n"
        "workers.run_workers([sys.argv[1]], 2, Path(sys.argv[1]) / 'logs')"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", waiting, str(tmp_path)], stderr=subprocess.DEVNULL
    )
    while len(pids := [int(path.name) for path in tmp_path.iterdir() if path.is_file()]) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(number)
    parent.wait()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("num", [0, -1, 10**6])
def test_a_number_that_makes_no_sense_is_refused(num):
    with pytest.raises(ConfigError, match=rf"--workers is {num}, expected 1 to \d+, the number of"):
        check_workers(num)


def test_what_cannot_be_used_is_refused_before_any_starts(model, tmp_path, capsys):  # noqa: F811
    file = run_file(tmp_path, model, sweep={"blocks": ["7"]})
    assert "7" in refusal(capsys, "sweep", file, "--workers", 2)
    assert not (tmp_path / "run" / "workers").exists()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_sweep_of_two_workers_ends_as_one_of_one(model, tmp_path, capsys):  # noqa: F811
    one = run_file(tmp_path / "one", model)
    two = run_file(tmp_path / "two", model)
    assert main(["sweep", str(one)]) == 0
    alone = capsys.readouterr().out.splitlines()
    assert main(["sweep", str(two), "--workers", "2"]) == 0
    together = capsys.readouterr().out.replace("/two/", "/one/").splitlines()
    assert together[-3:-1] == alone[-3:-1]
    metrics = [
        {row["cell"]: row["metrics"]["test"]["tvd"]["mean"] for row in results(folder / "run")}
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert {name.split("-rank")[0] for name in metrics[0]} == CELLS
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-4)
    logs = sorted((tmp_path / "two" / "run" / "workers").iterdir())
    assert [path.name for path in logs] == ["worker-1.log", "worker-2.log"]
    assert json.loads((tmp_path / "two" / "run" / "sweep.json").read_text())
