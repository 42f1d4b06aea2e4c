"""What a sweep's folder holds: the base's reports, finished cells, and who is at work on which.

Several processes, on one machine or on several that share the folder, may work on one sweep. A
cell is claimed by making a file; a claim whose process is gone, or that hasn't been renewed for ten
minutes, is taken over. Whoever looks at claims, makes or removes one holds a lock meanwhile.
"""

import fcntl
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from distmatch.errors import ConfigError, DataError
from distmatch.evals import Report
from distmatch.files import write_text
from distmatch.sweeps.cells import Cell

BASE_FOLDER = "base"
RESULTS_FILE = "results.jsonl"
CLAIMS_FOLDER = "claims"
_LOCK_FILE = "lock"
_OF_CELL = tuple(field.name for field in fields(Cell))
_MEASURED = {"metrics", "kl", "train_seconds", "flops"}
_RENEWED_EVERY = 30.0  # seconds
_STALE_AFTER = 600.0


def read_results(folder: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The finished cells by name, and what is wrong with lines passed over.

    Of several lines of a cell the first counts that didn't fail, else the last.

    Args:
        folder: The sweep's.

    Returns:
        Rows with metrics, or with the reason why there are none; and a sentence for each line that
        is neither.
    """
    path = folder / RESULTS_FILE
    found: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    if not path.exists():
        return found, wrong
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            is_measured = row.keys() >= _MEASURED and row["metrics"]
            is_its_own = row["cell"] == Cell(**{name: row[name] for name in _OF_CELL}).name
            if not (is_its_own and (is_measured or "failed" in row)):
                raise ValueError
            if "failed" in found.get(row["cell"], {"failed": ""}):
                found[row["cell"]] = row
        except (ValueError, KeyError, TypeError, AttributeError):
            wrong.append(
                f"{path}:{number} is not a result called as its cell, and is passed over; "
                "its cell runs again"
            )
    return found, wrong


def base_report_path(folder: Path, name: str) -> Path:
    """Where the base's report on a set of examples is.

    Args:
        folder: The sweep's.
        name: Of the set.
    """
    return folder / BASE_FOLDER / f"{name}.json"


def read_base(folder: Path, name: str) -> dict[str, Any]:
    """The base's metrics on a set of examples.

    Args:
        folder: The sweep's.
        name: Of the set.

    Raises:
        ConfigError: Its report isn't there or can't be read.
    """
    path = base_report_path(folder, name)
    if not path.is_file():
        raise ConfigError(f"{path} isn't there: start the sweep again to measure its base")
    try:
        metrics: dict[str, Any] = Report.load(path).to_json()["metrics"]
    except DataError as error:
        raise ConfigError(
            f"{error}: remove it and start the sweep again to measure its base"
        ) from error
    return metrics


def append_result(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a line, whole or not at all; what other processes and killed ones wrote stays.

    Where another process has finished the cell meanwhile, its line is enough.

    Args:
        folder: The sweep's.
        row: Its cell's name, under "cell", and what came of it.

    Raises:
        OSError: It can't be written, such as on a full disk; the file is as it was.
    """
    line = json.dumps(row, allow_nan=False).encode() + b"\n"
    with (folder / RESULTS_FILE).open("ab+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if "metrics" in read_results(folder)[0].get(row["cell"], {}):
            return
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line  # after what a kill cut off
        try:
            while line:  # a disk that fills up takes a part
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(size)
            raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other process is inside; the lock of one that is killed is free.

    Args:
        folder: The sweep's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK_FILE).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def claimed(folder: Path, cell: str) -> Iterator[bool]:
    """Inside, no other process works on the cell, if it was free.

    Args:
        folder: The sweep's.
        cell: Its name.

    Yields:
        Whether it was.
    """
    claims = folder / CLAIMS_FOLDER
    path, mine = claims / f"{cell}.json", json.dumps(_me())
    with locked(claims):
        is_mine = not path.exists() or _is_stale(path)
        if is_mine:
            write_text(path, mine)
    if not is_mine:
        yield False
        return
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(path, done), daemon=True)
    renewing.start()
    try:
        yield True
    finally:
        done.set()
        renewing.join()
        with locked(claims):
            if path.exists() and path.read_text() == mine:  # not taken over in a long sleep
                path.unlink()


def is_worked_on(folder: Path) -> bool:
    """Whether a process is at work on any cell.

    Args:
        folder: The sweep's.
    """
    claims = folder / CLAIMS_FOLDER
    with locked(claims):
        return any(not _is_stale(path) for path in claims.glob("*.json"))


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


def _renew(path: Path, done: threading.Event) -> None:
    while not done.wait(_RENEWED_EVERY):
        with suppress(OSError):
            os.utime(path)


def _is_stale(path: Path) -> bool:
    """Whether the claim's process is gone, as far as can be seen from here."""
    if time.time() - path.stat().st_mtime > _STALE_AFTER:
        return True
    try:
        holder = json.loads(path.read_text())
        is_here = holder["machine"] == _machine()
        return is_here and _started(holder["pid"]) != holder["started"]
    except (ValueError, KeyError, TypeError):  # of other making: its age has to do
        return False


def _me() -> dict[str, Any]:
    pid = os.getpid()
    return {"machine": _machine(), "pid": pid, "started": _started(pid)}


def _machine() -> list[str]:
    """Where a process's number means something: a host since it was started, or one container."""
    names = [socket.gethostname()]
    with suppress(OSError):  # not Linux
        names.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        names.append(os.readlink("/proc/self/ns/pid"))
    return names


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's clock ticks; None if there is none.

    A number may be given to another process once its own is gone.
    """
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]  # killed, but not yet looked after
    except (OSError, IndexError):
        with suppress(OSError, OverflowError):  # not Linux: whether there is one has to do
            os.kill(pid, 0)
            return "running"
        return None
