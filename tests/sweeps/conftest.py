"""Sweeps made quicker, and one that is done, to look at or to go on with."""

import gc
import importlib
import shutil

import pytest

from tests.sweeps.small import small_sweep

SWEEP = importlib.import_module("distmatch.sweeps.sweep")  # there's a function of that name


@pytest.fixture
def quick(monkeypatch):
    """Few ordinary texts, and little garbage to collect."""
    monkeypatch.setattr(SWEEP, "_TEXTS", 3)
    gc.freeze()  # accelerate collects garbage a cell, which here is that of the whole test run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder and what came of it."""
    gc.freeze()
    folder = tmp_path_factory.mktemp("finished") / "sweep"
    with pytest.MonkeyPatch.context() as few:
        few.setattr(SWEEP, "_TEXTS", 3)
        found = small_sweep(folder)
    return folder, found


@pytest.fixture
def folder(finished, tmp_path):
    """A copy to go on with."""
    return shutil.copytree(finished[0], tmp_path / "sweep")
