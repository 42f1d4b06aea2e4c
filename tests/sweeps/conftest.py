"""One sweep that is done, to look at or to go on with, and what figures are drawn of."""

import shutil

import pytest

from distmatch import plots
from tests.sweeps.small import small_sweep


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder and what came of it."""
    folder = tmp_path_factory.mktemp("finished") / "sweep"
    return folder, small_sweep(folder)


@pytest.fixture
def folder(finished, tmp_path):
    """A copy to go on with."""
    return shutil.copytree(finished[0], tmp_path / "sweep")


@pytest.fixture
def drawn(monkeypatch):
    """What figures are drawn of, by their files."""
    given = {}

    def kept(*args, path, **kwargs):
        given[path.stem] = args, kwargs

    for name in ("layer_curves", "layer_maps", "layer_ranking"):
        monkeypatch.setattr(plots, name, kept)
    return given
