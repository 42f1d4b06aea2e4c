"""A sweep's lines of results, and who is at work on which cell."""

import errno
import json
import os
import resource
import signal
import time
from dataclasses import asdict

import pytest
from distmatch.sweeps.records import (
    append_result,
    claimed,
    is_worked_on,
    locked,
    own_folder,
    read_results,
)

from distmatch.sweeps import records
from distmatch.sweeps.cells import Cell

MEASURED = {"metrics": {"tvd": 0.5}, "kl": 0.1, "train_seconds": 1, "flops": 1}


def line(block, **given):
    """What came of a cell of one block."""
    cell = Cell("mlp", str(block), 0, 2, 0.1, block, 9)
    return {"cell": cell.name} | asdict(cell) | given


ROW = line(1, **MEASURED)
FAILED = line(1, failed="diverged")
OTHER = line(0, **MEASURED)


def lines(folder):
    return (folder / "results.jsonl").read_bytes()


def in_child(work):
    """What the function gives in a forked process: True, False, or an error."""
    child = os.fork()
    if not child:
        os._exit({True: 0, False: 1}.get(work(), 2))
    return {0: True, 1: False}[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


def claim(folder, cell="a"):
    with claimed(folder, cell) as is_mine:
        return is_mine


def test_what_was_appended_is_read(tmp_path):
    rows = [line(n, **MEASURED | {"kl": n / 3}) for n in range(3)] + [line(3, failed="diverged")]
    for row in rows:
        append_result(tmp_path, row)
    assert read_results(tmp_path) == ({row["cell"]: row for row in rows}, [])


def test_an_empty_folder_has_no_results(tmp_path):
    assert read_results(tmp_path) == ({}, [])


def test_of_two_results_the_first_that_did_not_fail_counts_and_no_other_is_added(tmp_path):
    append_result(tmp_path, FAILED)
    assert read_results(tmp_path)[0] == {FAILED["cell"]: FAILED}
    append_result(tmp_path, ROW)
    append_result(tmp_path, ROW | {"kl": 2.0})
    append_result(tmp_path, FAILED)
    assert read_results(tmp_path)[0] == {ROW["cell"]: ROW}
    assert len(lines(tmp_path).splitlines()) == 2


@pytest.mark.parametrize(
    "bad",
    [
        b'{"cell": "mlp@0", "metr',
        b"\xff\xfe",
        b"[1, 2]",
        b'"cell"',
        b"17",
        b'{"metrics": {}}',
        b'{"cell": "mlp@0"}',
        b'{"cell": "mlp@0", "failed": "diverged"}',
        json.dumps(line(2)).encode(),
        json.dumps(line(2, metrics={"tvd": 0.5})).encode(),
        json.dumps(line(2, **MEASURED | {"metrics": {}})).encode(),
        json.dumps(line(2, **MEASURED) | {"cell": ["mlp@2"]}).encode(),
        json.dumps(line(2, **MEASURED) | {"cell": ROW["cell"]}).encode(),  # another cell's name
    ],
)
def test_a_bad_line_is_passed_over_with_its_number_and_stays(tmp_path, bad):
    append_result(tmp_path, OTHER)
    before = lines(tmp_path) + bad
    (tmp_path / "results.jsonl").write_bytes(before)  # cut off before its end
    append_result(tmp_path, ROW)
    found, wrong = read_results(tmp_path)
    assert list(found) == [OTHER["cell"], ROW["cell"]]
    assert [sentence.split(" ")[0] for sentence in wrong] == [f"{tmp_path / 'results.jsonl'}:2"]
    assert lines(tmp_path) == before + b"\n" + json.dumps(ROW).encode() + b"\n"


def test_what_is_not_a_number_is_no_result(tmp_path):
    append_result(tmp_path, ROW)
    before = lines(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_result(tmp_path, ROW | {"kl": float("nan")})
    assert lines(tmp_path) == before


def test_a_disk_that_fills_up_leaves_the_file_as_it_was(tmp_path):
    append_result(tmp_path, ROW)
    before = lines(tmp_path)

    def append_to_a_full_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write over the limit is then an error
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10,) * 2)
        try:
            append_result(tmp_path, OTHER)
        except OSError as error:
            return error.errno == errno.EFBIG

    assert in_child(append_to_a_full_disk)
    assert lines(tmp_path) == before
    append_result(tmp_path, OTHER)
    assert list(read_results(tmp_path)[0]) == [ROW["cell"], OTHER["cell"]]


def test_lines_of_several_processes_stay_whole(tmp_path):
    children = []
    for number in range(4):
        children.append(os.fork())
        if not children[-1]:
            for count in range(25):
                append_result(tmp_path, line(100 * number + count, **MEASURED, x="y" * 999))
            os._exit(0)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    found, wrong = read_results(tmp_path)
    assert len(found) == 100
    assert wrong == []


def test_a_claim_is_exclusive_between_processes(tmp_path):
    with claimed(tmp_path, "a") as is_mine:
        assert is_mine
        assert not in_child(lambda: claim(tmp_path))
        assert in_child(lambda: claim(tmp_path, "b"))
        assert not claim(tmp_path)
    assert in_child(lambda: claim(tmp_path))


def test_of_many_processes_one_gets_a_claim(tmp_path):
    go, ready = os.pipe()
    children = []
    for _ in range(8):
        children.append(os.fork())
        if not children[-1]:
            os.close(ready)
            os.read(go, 1)  # until the parent lets all go at once
            with claimed(tmp_path, "a") as is_mine:
                time.sleep(0.5)
            os._exit(0 if is_mine else 1)
    os.close(go)
    os.close(ready)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert sorted(codes) == [0] + [1] * 7


def test_a_claim_is_released_on_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path, "a"):
        raise KeyboardInterrupt
    assert list((tmp_path / "claims").glob("*.json")) == []
    assert claim(tmp_path)


def holder(folder):
    """A process that holds the claim and goes on."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with claimed(folder, "a"):
            os.write(write, b"!")
            time.sleep(60)
        os._exit(0)
    os.read(read, 1)
    for end in (read, write):
        os.close(end)
    return child


def test_a_killed_holder_loses_its_claim_a_living_one_does_not(tmp_path):
    child = holder(tmp_path)
    assert not claim(tmp_path)
    os.kill(child, signal.SIGKILL)
    time.sleep(0.1)
    assert claim(tmp_path)  # not even waited for yet
    os.waitpid(child, 0)
    child = holder(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert claim(tmp_path)


def test_of_many_processes_one_takes_over_what_a_killed_one_held(tmp_path):
    child = holder(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    test_of_many_processes_one_gets_a_claim(tmp_path)


def written_claim(folder, age=0.0, **holder):
    path = folder / "claims" / "a.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records._me() | holder))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize(("age", "is_free"), [(0, False), (500, False), (700, True)])
@pytest.mark.parametrize("other", range(len(records._machine())))
def test_a_claim_of_another_machine_goes_by_its_age(tmp_path, age, is_free, other):
    machine = records._machine()  # a container of the same host has its own numbers
    machine[other] = "elsewhere"
    written_claim(tmp_path, age, machine=machine, pid=1)
    assert is_worked_on(tmp_path) == (not is_free)
    assert claim(tmp_path) == is_free


def test_a_pid_that_was_given_to_another_process_holds_nothing(tmp_path):
    written_claim(tmp_path, started="12")
    assert claim(tmp_path)


@pytest.mark.parametrize(("age", "is_free"), [(0, False), (700, True)])
def test_a_claim_that_cannot_be_read_goes_by_its_age(tmp_path, age, is_free):
    path = written_claim(tmp_path)
    path.write_text("[")
    os.utime(path, (time.time() - age,) * 2)
    assert claim(tmp_path) == is_free


def test_a_claim_is_renewed_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_RENEWED_EVERY", 0.02)
    with claimed(tmp_path, "a"):
        path = tmp_path / "claims" / "a.json"
        os.utime(path, (0, 0))
        for _ in range(100):
            time.sleep(0.02)
            if time.time() - path.stat().st_mtime < 10:
                break
        assert time.time() - path.stat().st_mtime < 10


def test_a_claim_that_was_taken_over_is_left_to_the_other(tmp_path):
    with claimed(tmp_path, "a"):
        path = written_claim(tmp_path, host="elsewhere", pid=1)
    assert path.exists()


def test_a_lock_of_a_killed_process_is_free(tmp_path):
    def killed_inside():
        with locked(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        killed_inside()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with locked(tmp_path):
        pass


def test_folders_of_processes_that_are_gone_are_removed(tmp_path):
    def killed_inside():
        with own_folder(tmp_path, "states") as path:
            path.mkdir()
            os._exit(0)  # nothing is tidied up

    assert in_child(killed_inside)
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    (tmp_path / "states-elsewhere-1").mkdir()
    with own_folder(tmp_path, "states") as path:
        path.mkdir()
        assert set(tmp_path.iterdir()) == {path, tmp_path / "states-elsewhere-1"}
    assert [path.name for path in tmp_path.iterdir()] == ["states-elsewhere-1"]
