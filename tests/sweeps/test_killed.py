"""Sweeps by several processes, and by processes that are killed: the same comes of them."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from distmatch.cli.tables import to_toml
from tests.sweeps.small import NAMES, adapters, claims, measured, rows, small_sweep


def forked(folder):
    """A process that runs the small sweep to its end."""
    child = os.fork()
    if not child:
        code = 1
        try:
            torch.set_num_threads(1)
            small_sweep(folder)
            code = 0
        finally:
            os._exit(code)
    return child


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder, and how many seconds the sweep took."""
    folder = tmp_path_factory.mktemp("undisturbed") / "sweep"
    start = time.monotonic()
    assert os.waitpid(forked(folder), 0)[1] == 0
    return folder, time.monotonic() - start


def holds_the_same(folder, expected):
    """Each cell once, with the same numbers and weights bit for bit, and nothing claimed."""
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["cell"] for line in lines) == sorted(rows(expected))
    assert measured(folder) == measured(expected)
    assert adapters(folder) == adapters(expected) != {}
    assert claims(folder) == []


def test_two_processes_do_each_cell_once(undisturbed, tmp_path):
    children = [forked(tmp_path / "two") for _ in range(2)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    lines = (tmp_path / "two" / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["cell"] for line in lines) == sorted(NAMES)
    assert claims(tmp_path / "two") == []
    for name, row in rows(tmp_path / "two").items():
        assert row["metrics"]["main"]["tvd"]["mean"] == pytest.approx(
            rows(undisturbed[0])[name]["metrics"]["main"]["tvd"]["mean"], rel=1e-4
        )


def test_killed_at_20_moments_it_ends_as_undisturbed(undisturbed, tmp_path):
    expected, whole = undisturbed
    folder = tmp_path / "killed"
    draw, kills, done = random.Random(0), 0, set()
    while kills < 20:
        child = forked(folder)
        time.sleep(draw.uniform(0.02, 0.25 * whole))
        os.kill(child, signal.SIGKILL)
        kills += os.waitpid(child, 0)[1] == signal.SIGKILL
        results = folder / "results.jsonl"
        if results.exists():  # what was finished stays
            now = set(results.read_text().splitlines())
            assert done <= now
            done = now
        if len(done) == len(NAMES):  # begin again, to have something left to kill
            shutil.rmtree(folder)
            done = set()
    assert os.waitpid(forked(folder), 0)[1] == 0
    holds_the_same(folder, expected)


def command(tmp_path, name):
    """`distmatch sweep` of two cells of the embedded model, and its folder."""
    tables = {
        "model": {"name": "smollm2-135m"},
        "data": {"task": "output_control", "n": 4, "n_test": 1, "pool": "rare", "hold_out": []},
        "sweep": {"sites": ["mlp"], "blocks": ["28"], "rank": 2},
        "train": {
            "output_dir": str(tmp_path / name),
            "max_steps": 2,
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-3,
            "use_cpu": True,
        },
    }
    file = tmp_path / f"{name}.toml"
    file.write_text(to_toml(tables), encoding="utf-8")
    run = "import sys; from distmatch.cli import main; sys.exit(main())"
    return [sys.executable, "-c", run, "sweep", str(file)], tmp_path / name


@pytest.mark.embedded
def test_a_killed_sweep_of_the_embedded_model_ends_as_undisturbed(tmp_path):
    undisturbed, expected = command(tmp_path, "undisturbed")
    killed, folder = command(tmp_path, "killed")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    subprocess.run(undisturbed, env=environment, check=True, capture_output=True)
    whole = time.monotonic() - start
    draw, kills = random.Random(0), 0
    while kills < 1:
        process = subprocess.Popen(
            killed, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.4, 0.9) * whole)  # before that it has not begun
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        results = folder / "results.jsonl"
        if results.exists() and len(rows(folder)) == len(rows(expected)):
            shutil.rmtree(folder)  # begin again, to have something left to kill
    subprocess.run(killed, env=environment, check=True, capture_output=True)
    holds_the_same(folder, expected)
