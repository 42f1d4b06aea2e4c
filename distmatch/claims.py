"""Who is at work on which piece: locks, claims, and folders of one process alone.

Several processes, on one machine or on several that share the folder, may work on one sweep or one
experiment. A piece of it is claimed by making a file; a claim whose process is gone, or that hasn't
been renewed for ten minutes, is taken over. Whoever looks at claims, makes or removes one holds a
lock meanwhile.
"""

import fcntl
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from distmatch.errors import ConfigError
from distmatch.files import write_text
from distmatch.progress import say

CLAIMS_FOLDER = "claims"
_LOCK_FILE = "lock"
_RENEWED_EVERY = 30.0  # seconds
_STALE_AFTER = 600.0
_TRIED_EVERY = 2.0
_SAME_START = 5.0  # the machine's own start is known to a second or so


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other process is inside; the lock of one that is killed is free.

    Args:
        folder: Made if need be.

    Raises:
        ConfigError: Its file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK_FILE).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise ConfigError(
                f"the file system of {folder} has no locks ({error}): choose a folder on another"
            ) from error
        yield


@contextmanager
def claimed(folder: Path, piece: str, *, renewed_every: float = _RENEWED_EVERY) -> Iterator[bool]:
    """Inside, no other process works on the piece, if it was free.

    Args:
        folder: Of the whole.
        piece: Its name.
        renewed_every: Seconds after which the claim says again that it is held.

    Yields:
        Whether it was.
    """
    claims = folder / CLAIMS_FOLDER
    path, mine = claims / f"{piece}.json", json.dumps(asdict(Holder.me()))
    with locked(claims):
        is_mine = not path.exists() or _is_stale(path)
        if is_mine:
            write_text(path, mine)
    if not is_mine:
        yield False
        return
    try:
        with _renewed(path, renewed_every):
            yield True
    finally:
        with locked(claims):
            if path.exists() and path.read_text() == mine:  # not taken over in a long sleep
                path.unlink()


def free_ones(
    folder: Path, pieces: Iterable[str], *, waits: bool = True, every: float = _TRIED_EVERY
) -> Iterator[str]:
    """Every piece, while no other process works on it; what others are at work on comes last.

    A piece that another process has done meanwhile comes, too: whoever asks finds it there.

    Args:
        folder: Of the whole.
        pieces: Their names.
        waits: Whether those that aren't free are waited for, or left out.
        every: Seconds after which they are tried again.
    """
    left, told = list(pieces), False
    while left:
        taken = []
        for piece in left:
            with claimed(folder, piece) as is_mine:
                if is_mine:
                    yield piece
                else:
                    taken.append(piece)
        if not taken or not waits:
            return
        if len(taken) == len(left) and not told:
            say(f"waiting for what other processes in {folder} are at: {', '.join(taken)}")
            told = True
        left = taken
        time.sleep(every)


def is_worked_on(folder: Path) -> bool:
    """Whether a process is at work on any piece.

    Args:
        folder: Of the whole.
    """
    claims = folder / CLAIMS_FOLDER
    with locked(claims):
        return any(not _is_stale(path) for path in claims.glob("*.json"))


def drop_stale_claims(folder: Path) -> None:
    """Remove what processes held that were killed, also behind the result of their piece.

    Args:
        folder: Of the whole.
    """
    claims = folder / CLAIMS_FOLDER
    with locked(claims):
        for path in claims.glob("*.json"):
            if _is_stale(path):
                path.unlink()


@contextmanager
def own_folder(folder: Path, name: str) -> Iterator[Path]:
    """A folder of this process alone; those of processes of this machine that are gone go too.

    Args:
        folder: Where it is.
        name: What its name begins with.

    Yields:
        Its path; it is made by whoever writes there, and removed afterwards.
    """
    here = f"{name}-{socket.gethostname()}-"
    for path in folder.glob(f"{here}*"):
        pid = path.name.removeprefix(here)
        if pid.isdigit() and _started(int(pid)) is None:
            shutil.rmtree(path, ignore_errors=True)
    own = folder / f"{here}{os.getpid()}"
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that holds a claim."""

    machine: list[str]
    """Where its number means something: a host since it was started, or one container."""
    pid: int
    started: float | None
    """When it began, since a number may be given to another process once its own is gone."""

    @classmethod
    def me(cls) -> "Holder":
        """This process."""
        machine = [socket.gethostname()]
        with suppress(OSError):  # not Linux
            machine.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
            machine.append(os.readlink("/proc/self/ns/pid"))
        return cls(machine=machine, pid=os.getpid(), started=_started(os.getpid()))

    def is_gone(self) -> bool:
        """Whether it has ended, as far as can be seen from here."""
        if self.machine != Holder.me().machine or not isinstance(self.started, int | float):
            return False
        started = _started(self.pid)
        return started is None or abs(started - self.started) > _SAME_START


def _is_stale(path: Path) -> bool:
    """Whether the claim can be taken over."""
    if time.time() - path.stat().st_mtime > _STALE_AFTER:
        return True
    try:
        return Holder(**json.loads(path.read_text())).is_gone()
    except (ValueError, TypeError):  # of other making: its age has to do
        return False


@contextmanager
def _renewed(path: Path, every: float) -> Iterator[None]:
    """Inside, the claim stays young."""
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(path, every, done), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()


def _renew(path: Path, every: float, done: threading.Event) -> None:
    while not done.wait(every):
        with suppress(OSError):
            os.utime(path)


def _started(pid: int) -> float | None:
    """When a living process began, in seconds since the machine did; None if there is none."""
    machine = psutil.boot_time()  # both move with the clock when it is set
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None  # killed, but not yet looked after
        return process.create_time() - machine
    except psutil.NoSuchProcess:
        return None
