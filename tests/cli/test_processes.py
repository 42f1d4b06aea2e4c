"""`distmatch train` by two processes, as torchrun starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from distmatch.cli import main
from tests.cli.small import run_file

SUITES = {
    "data": {"task": "output_control", "n": 14, "n_test": 6, "words": 2},
    "measure": {"suites": ["given", "ordinary", "deviation", "suppression"]},
    "suite.given": {"per_group": 1},
    "suite.ordinary": {"per_template": 1},
    "suite.deviation": {"passages": 1, "patterns": 1, "per_text": 2, "alone": 1},
}
ADAPTER = "adapter_model.safetensors"


def by_two(*argv: object) -> str:
    """What a command says that two processes carry out."""
    torchrun = Path(sys.executable).with_name("torchrun")
    script = Path(sys.executable).with_name("distmatch")
    command = [torchrun, "--standalone", "--nproc-per-node=2", script, *argv]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(a) for a in command], env=environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def runs(model, tmp_path_factory):
    """Folders of the same run, by one process and by two, and what the two said."""
    folder = tmp_path_factory.mktemp("processes")
    sizes = {"one": 4, "two": 2}
    files = {
        name: run_file(
            folder / name,
            model,
            **SUITES,
            train={"per_device_train_batch_size": size, "optim": "sgd", "learning_rate": 0.02},
        )
        for name, size in sizes.items()
    }
    told = by_two("train", files["two"])
    assert main(["train", str(files["one"])]) == 0
    return folder / "one" / "run", folder / "two" / "run", told


def numbers(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_two_processes_leave_what_one_does(runs):
    one, two, _ = runs
    same = {path.relative_to(one) for path in one.rglob("*") if "checkpoint" not in str(path)}
    assert same == {p.relative_to(two) for p in two.rglob("*") if "checkpoint" not in str(p)}
    before = sorted((one / "before").rglob("report.json"))
    assert len(before) == 5
    for report in before:
        assert report.read_bytes() == (two / report.relative_to(one)).read_bytes(), report
    weights, others = load_file(one / ADAPTER), load_file(two / ADAPTER)
    for name, value in weights.items():
        assert (value - others[name]).abs().max() < 1e-6, name


def test_one_of_them_speaks(runs):
    told = runs[2]
    assert told.count("before training, given is measured") == 1
    assert told.count("metrics.json") == 1
