"""Who is at work on which cell: locks, claims, folders of one process."""

import json
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import asdict

import pytest

from distmatch.claims import (
    Holder,
    claimed,
    drop_stale_claims,
    free_ones,
    is_worked_on,
    locked,
    own_folder,
)
from tests.sweeps.processes import in_child


def claim(folder, cell="a"):
    with claimed(folder, cell) as is_mine:
        return is_mine


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
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it is gone, and nobody was told yet
    assert claim(tmp_path)
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
    path.write_text(json.dumps(asdict(Holder.me()) | holder))
    then = time.time() - age
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize(("age", "is_free"), [(0, False), (500, False), (700, True)])
@pytest.mark.parametrize("other", range(len(Holder.me().machine)))
def test_a_claim_of_another_machine_goes_by_its_age(tmp_path, age, is_free, other):
    machine = Holder.me().machine  # a container of the same host has its own numbers
    machine[other] = "elsewhere"
    written_claim(tmp_path, age, machine=machine, pid=1)
    assert is_worked_on(tmp_path) == (not is_free)
    assert claim(tmp_path) == is_free


def test_a_pid_that_was_given_to_another_process_holds_nothing(tmp_path):
    written_claim(tmp_path, started=Holder.me().started - 60)
    assert claim(tmp_path)


def test_a_process_is_known_by_when_it_began_to_a_second_or_so(tmp_path):
    written_claim(tmp_path, started=Holder.me().started + 1)
    assert not claim(tmp_path)


@pytest.mark.parametrize("started", ["4711", "running", None])
@pytest.mark.parametrize(("age", "is_free"), [(0, False), (700, True)])
def test_a_claim_that_says_otherwise_when_it_began_goes_by_its_age(tmp_path, started, age, is_free):
    written_claim(tmp_path, age, started=started)
    assert claim(tmp_path) == is_free


@pytest.mark.parametrize(("age", "is_free"), [(0, False), (700, True)])
def test_a_claim_that_cannot_be_read_goes_by_its_age(tmp_path, age, is_free):
    path = written_claim(tmp_path)
    path.write_text("[")
    os.utime(path, (time.time() - age,) * 2)
    assert claim(tmp_path) == is_free


def test_a_claim_is_renewed_while_it_is_held(tmp_path):
    with claimed(tmp_path, "a", renewed_every=0.02):
        path = tmp_path / "claims" / "a.json"
        os.utime(path, (0, 0))
        for _ in range(100):
            time.sleep(0.02)
            if time.time() - path.stat().st_mtime < 10:
                break
        assert time.time() - path.stat().st_mtime < 10


def test_claims_of_killed_processes_are_dropped_and_those_of_living_ones_are_not(tmp_path):
    child = os.fork()
    if not child:
        with claimed(tmp_path, "killed"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with claimed(tmp_path, "living"):
        drop_stale_claims(tmp_path)
        assert [path.name for path in tmp_path.glob("claims/*.json")] == ["living.json"]


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


def test_what_another_process_is_at_comes_when_it_is_free(tmp_path):
    with ExitStack() as held:
        held.enter_context(claimed(tmp_path, "a"))
        assert list(free_ones(tmp_path, ["a", "b"], waits=False)) == ["b"]
        coming = free_ones(tmp_path, ["a", "b", "c"], every=0.01)
        assert [next(coming), next(coming)] == ["b", "c"]
        assert not in_child(lambda: claim(tmp_path, "c"))  # as long as it is at work on it
        held.close()
        assert list(coming) == ["a"]
