"""Files appear whole, or stay as they were."""

import json

import pytest

from distmatch.files import replacing, write_json, write_text


def test_a_text_is_written_with_its_folders(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "héllo\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "héllo\n".encode()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("new, but not all of")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_that_json_does_not_have_are_refused(tmp_path):
    write_json(tmp_path / "a.json", {"é": [1.5, None]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"é": [1.5, None]}
