"""Directories that are made once and kept: whole or not at all, checked at every use.

A file that nobody has touched since it was written is taken for whole, so that a large model's
weights are mapped and not read; any other is read through and compared.

A directory is made under another name and moved into place as the last step, so a process that is
killed leaves nothing half-made behind. Who comes second on a machine waits for the first; of two
machines both make it and one's is kept. A damaged one is made anew.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from distmatch.errors import LoadError
from distmatch.files import write_json

_MANIFEST, _TIMES = "manifest.json", "times"  # the latter differs each time, and is no model's
_CHUNK_BYTES = 1 << 24
SURE_NS = 100_000_000
"""Two changes of a file within so short a time may bear the same time."""

logger = logging.getLogger(__name__)


def cache_root() -> Path:
    """`$DISTMATCH_CACHE`, else `$XDG_CACHE_HOME/distmatch`, else `~/.cache/distmatch`."""
    if chosen := os.environ.get("DISTMATCH_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "distmatch"


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """The target directory, made if it isn't there whole.

    Args:
        target: Its parents are made too.
        make: Writes the files into an empty directory.

    Raises:
        LoadError: The target can't be written.
    """
    if is_intact(target):
        return target
    part = target.parent / f"{_part_prefix()}{os.getpid()}-{uuid.uuid4().hex}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            if is_intact(target):
                return target
            _remove_stale(target.parent)
            part.mkdir()
            _set_aside_damaged(target, part)
            make(part)
            _write_manifest(part)
            _move_into_place(part, target)
    except (OSError, SafetensorError) as error:
        raise LoadError(
            f"can't write the converted model to {target} ({error}): free some space there, or "
            "point the environment variable DISTMATCH_CACHE at a directory with room to spare"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def check_free(folder: Path, num_bytes: int, name: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: Which need not be there.
        num_bytes: To be written.
        name: What is written, for the error.

    Raises:
        LoadError: There is less room; says how much.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if num_bytes > free:
        raise LoadError(
            f"{name} takes {num_bytes / 1e9:.1f} GB converted, and {there} has {free / 1e9:.1f} GB "
            "free: free some, or point the environment variable DISTMATCH_CACHE at another disk; "
            'dtype="bfloat16" takes half of float32'
        )


def is_intact(directory: Path) -> bool:
    """Whether every file of a converted model still is as it was written.

    One with other times than it was left with, such as a copy, is read through and compared by
    CRC-32: the danger is a damaged or cut copy, not a forger (who could rewrite the manifest too).
    """
    try:
        manifest = json.loads((directory / _MANIFEST).read_text(encoding="utf-8"))
        times = _kept_times(directory)
        return all(
            (directory / name).stat().st_size == size
            and (_times(directory / name) == times.get(name) or _crc32(directory / name) == crc32)
            for name, (size, crc32) in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # an unreadable manifest is one more kind of damage


def _kept_times(directory: Path) -> dict[str, list[int]]:
    """The times its files were left with; none where they can't be read."""
    with suppress(OSError, ValueError):
        return json.loads((directory / _TIMES).read_text(encoding="utf-8"))
    return {}


def _times(path: Path) -> list[int]:
    """When a file's content and its entry were changed last, in nanoseconds."""
    status = path.stat()
    return [status.st_mtime_ns, status.st_ctime_ns]


def _crc32(path: Path) -> int:
    crc32 = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32


def _write_manifest(directory: Path) -> None:
    paths = sorted(directory.iterdir())
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file)  # else a machine that stops might leave sizes and times alone
    files = {path.name: (path.stat().st_size, _crc32(path)) for path in paths}
    now = time.time_ns()
    times = {path.name: _times(path) for path in paths if now - max(_times(path)) > SURE_NS}
    write_json(directory / _MANIFEST, {"files": files})
    write_json(directory / _TIMES, times)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Inside, no other process of this machine makes the target; a lock ends with its process."""
    name = hashlib.sha256(str(target.absolute()).encode()).hexdigest()[:16]
    with ExitStack() as held:
        with suppress(OSError):  # another user's, or a file system without locks
            path = Path(tempfile.gettempdir()) / f"distmatch-{name}.lock"
            fcntl.flock(held.enter_context(path.open("w")), fcntl.LOCK_EX)
        yield


def _set_aside_damaged(target: Path, part: Path) -> None:
    if not target.exists() or is_intact(target):
        return
    logger.warning("%s is damaged and will be converted again", target)
    with suppress(FileNotFoundError):  # another process may be doing the same
        target.rename(part / "damaged")
        shutil.rmtree(part / "damaged")


def _move_into_place(part: Path, target: Path) -> None:
    try:
        part.rename(target)
    except OSError:
        # A full directory isn't replaced: another process was first, and its copy is as good.
        if not is_intact(target):
            raise


def _part_prefix() -> str:
    return f".part-{socket.gethostname()}-"


def _remove_stale(parent: Path) -> None:
    """Remove what killed conversions left, of this machine only: no other's processes are seen."""
    for part in parent.glob(f"{_part_prefix()}*-*"):
        pid = part.name.removeprefix(_part_prefix()).partition("-")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(part, ignore_errors=True)


def _is_running(pid: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere the question below would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user's
        return True
    return True
