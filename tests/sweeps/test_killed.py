"""Sweeps by several processes, and by processes that are killed: the same comes of them."""

import copy
import json
import os
import random
import shutil
import signal
import time

import pytest
import torch

from distmatch.sweeps import Grid
from distmatch.sweeps.layer_sweep import carry_out
from distmatch.sweeps.plan import Plan
from tests.sweeps.small import (
    adapters,
    claims,
    examples,
    measured,
    rows,
    settings,
    small_sweep,
)

THREE = Grid(sites=("attention", "mlp"), blocks=("3",), rank=2)
THREE_NAMES = [f"{cell}-rank2-lr0.01-seed0" for cell in ("all@0-3", "attention@3", "mlp@3")]
LAST = Grid(sites=("mlp",), blocks=("1",), rank=2)


def three_cells(folder):
    """The least that two processes can share, each having a cell to wait for."""
    tests = {"main": examples(2)}
    return small_sweep(folder, grid=THREE, train=examples(4), tests=tests, max_steps=2)


def forked(folder, sweep=three_cells):
    """A process that runs a sweep to its end."""
    child = os.fork()
    if not child:
        code = 1
        try:
            torch.set_num_threads(1)
            sweep(folder)
            code = 0
        finally:
            os._exit(code)
    return child


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder, and how many seconds the sweep took."""
    folder = tmp_path_factory.mktemp("undisturbed") / "sweep"
    three_cells(folder.with_name("first"))  # imports and proves what no child has to any more
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
    assert sorted(json.loads(line)["cell"] for line in lines) == sorted(THREE_NAMES)
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
        if len(done) == len(THREE_NAMES):  # begin again, to have something left to kill
            shutil.rmtree(folder)
            done = set()
    assert os.waitpid(forked(folder), 0)[1] == 0
    holds_the_same(folder, expected)


@pytest.fixture(scope="module")
def shallow(embedded):
    """The embedded model with two of its blocks: the true vocabulary, but quick to sweep."""
    model, tokenizer = embedded
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = 2
    short = type(model)(config).eval()
    short.load_state_dict(model.state_dict(), strict=False)
    return short, tokenizer


@pytest.mark.embedded
def test_a_killed_sweep_of_the_embedded_model_ends_as_undisturbed(shallow, tmp_path):
    def sweep(folder):
        plan = Plan.of(
            shallow[0],
            train_dataset=examples(1),
            eval_datasets={"main": examples(1)},
            args=settings(folder, max_steps=1),
            grid=LAST,
            num_texts=1,
        )
        carry_out(plan, *shallow)

    expected, folder = tmp_path / "undisturbed", tmp_path / "killed"
    start = time.monotonic()
    assert os.waitpid(forked(expected, sweep), 0)[1] == 0
    whole = time.monotonic() - start
    draw, kills = random.Random(0), 0
    while kills < 1:
        child = forked(folder, sweep)
        time.sleep(draw.uniform(0.1, 0.9) * whole)
        os.kill(child, signal.SIGKILL)
        kills += os.waitpid(child, 0)[1] == signal.SIGKILL
        results = folder / "results.jsonl"
        if results.exists() and len(rows(folder)) == len(rows(expected)):
            shutil.rmtree(folder)  # begin again, to have something left to kill
    assert os.waitpid(forked(folder, sweep), 0)[1] == 0
    holds_the_same(folder, expected)
