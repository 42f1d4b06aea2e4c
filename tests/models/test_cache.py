"""Directories made once: what is untouched isn't read again, what was touched is."""

import os
import time

import pytest

from distmatch.models import cache
from distmatch.models.cache import is_intact, made_once

OLD = 1_500_000_000


def make(part):
    (part / "weights").write_bytes(bytes(1000))
    os.utime(part / "weights", (OLD, OLD))
    time.sleep(0.15)  # a file that has only just been made is never taken for untouched


@pytest.fixture
def kept(tmp_path):
    return made_once(tmp_path / "kept", make)


def test_a_file_that_nobody_touched_is_not_read(kept, monkeypatch):
    monkeypatch.setattr(cache, "_crc32", lambda path: pytest.fail(f"{path} is read"))
    assert is_intact(kept)


def test_a_touched_file_is_read_and_compared(kept):
    os.utime(kept / "weights")
    assert is_intact(kept)
    (kept / "weights").write_bytes(bytes(999) + b"1")
    assert not is_intact(kept)
    os.utime(kept / "weights", (OLD, OLD))
    assert not is_intact(kept)


def test_a_file_that_has_only_just_been_made_is_read_every_time(tmp_path, monkeypatch):
    kept = made_once(tmp_path / "kept", lambda part: (part / "weights").write_bytes(b"1"))
    read = []
    monkeypatch.setattr(cache, "_crc32", lambda path: read.append(path.name))
    assert not is_intact(kept) and read == ["weights"]
