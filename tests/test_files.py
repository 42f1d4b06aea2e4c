"""Files appear whole, or stay as they were."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from safetensors import SafetensorError

from distmatch.errors import ConfigError, LoadError
from distmatch.files import (
    alone_in,
    check_folder,
    replacing,
    told_if_unwritable,
    write_json,
    write_text,
)


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


def test_writers_of_one_file_do_not_meet(tmp_path):
    def write(number):
        write_json(tmp_path / "a.json", list(range(number)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(300)))
    assert isinstance(json.loads((tmp_path / "a.json").read_text()), list)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    check_folder(tmp_path / "new" / "deep", "--out")
    assert not (tmp_path / "new").exists()
    for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(ConfigError, match=rf"--out is {folder}, but .*/file is a file"):
            check_folder(folder, "--out")


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ConfigError, match="can't be written to: choose another folder"):
        check_folder(tmp_path / "new", "output_dir")


def test_one_process_alone_is_in_a_folder_and_its_death_frees_it(tmp_path):
    folder = tmp_path / "run"
    # Its own child, such as a data loader's worker, outlives it
    script = (
        f"from distmatch.files import alone_in; import os, time\nwith alone_in({str(folder)!r}):"
    )
    script += "\n if not os.fork(): print(os.getpid(), flush=True)\n time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    worker = int(child.stdout.readline())
    try:
        refused = f"another process is at work in {folder}: wait"
        with pytest.raises(ConfigError, match=refused), alone_in(folder):
            pass
        child.kill()
        child.wait()
        with alone_in(folder):
            pass
    finally:
        child.kill()
        os.kill(worker, signal.SIGKILL)
        child.stdout.close()
    assert list(folder.iterdir()) == []


def test_a_folder_that_was_there_stays_with_all_that_is_in_it(tmp_path, monkeypatch):
    (tmp_path / "lock").write_text("mine")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path, tmp_path / "empty"):
        with alone_in(folder):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "lock"]
    with alone_in(tmp_path):
        monkeypatch.setenv("RANK", "1")  # another process of the same start
        with alone_in(tmp_path):
            pass


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(37, "No locks")))
    with alone_in(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()


def test_a_lock_goes_and_what_was_made_stays(tmp_path):
    with alone_in(tmp_path / "run"):
        write_text(tmp_path / "run" / "a.txt", "a")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_says_where_and_what_to_do(error, tmp_path):
    told = r"run can't be written to .* GB free .* go on with --resume"
    with (
        pytest.raises(LoadError, match=told),
        told_if_unwritable(tmp_path / "run", "go on with --resume"),
    ):
        raise error


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (KeyError("a"), OSError(2, "No such file"), RuntimeError("shapes differ")):
        with pytest.raises(type(error)), told_if_unwritable(tmp_path, "go on"):
            raise error
