"""Files that are written whole or not at all, and folders that one process has to itself."""

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path
from typing import Any
from weakref import WeakSet

from distmatch.errors import ConfigError, LoadError

_LOCK_FILE = ".lock"

_UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.EFBIG, errno.ESTALE),
}
_SIGNS = ("inline_container", "PytorchStreamWriter", "No space left", "I/O error")
"""Of other packages' errors where a file can't be written."""
_LOCKS: WeakSet[BufferedWriter] = WeakSet()


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A place beside a path to write to, which takes the path's place once all is written.

    What an error or a kill leaves unfinished never stands at the path; folders are made.

    Args:
        path: The file; one that is there stays until the other takes its place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")  # of this writer alone
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text, in UTF-8."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any, *, indent: int = 1) -> None:
    """Write plain dicts, lists and numbers.

    Raises:
        ValueError: A number that isn't finite, which JSON doesn't have.
    """
    write_text(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=indent) + "\n")


def check_folder(path: str | Path, name: str) -> None:
    """Refuse a folder that can't be made or written to; makes nothing.

    Args:
        path: The folder.
        name: Of the setting that gives it.

    Raises:
        ConfigError: It is a file, stands below one, or can't be written to.
    """
    path = Path(path)
    there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise ConfigError(f"{name} is {path}, but {there} is a file: choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{name} is {path}, but {there} can't be written to: choose another folder, or change "
            "its permissions"
        )


@contextmanager
def alone_in(folder: str | Path) -> Iterator[None]:
    """Inside, no other process is; the lock of one that dies is free at once.

    Of processes that torchrun started together the first has the lock, for all of them. Where the
    file system knows no locks, nobody is kept out.

    Args:
        folder: Made if need be.

    Raises:
        ConfigError: Another process is inside.
    """
    folder, owner = Path(folder), os.getpid()
    if int(os.environ.get("RANK", "0")):
        yield
        return
    was_there = folder.is_dir()
    with _locked(folder / _LOCK_FILE) as lock:
        try:
            yield
        finally:
            if os.getpid() == owner:
                lock.unlink(missing_ok=True)
                if not was_there:
                    with suppress(OSError):  # where nothing came of it there is no folder either
                        folder.rmdir()


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except (FileNotFoundError, FileExistsError):
            check_folder(path.parent, "the folder")
            continue  # it was removed meanwhile by whoever had the lock
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(
                    f"another process is at work in {path.parent}: wait until it is done, or "
                    "choose another folder"
                ) from error
            except OSError:  # no locks here
                pass
            if not _is_at(path, file):
                continue  # the file was, so this is a lock of nothing
            _LOCKS.add(file)
            yield path
            return


def _is_at(path: Path, file: BufferedWriter) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _forget_locks() -> None:
    """A child that is forked has no part in its parent's locks, nor keeps them after its death."""
    for file in list(_LOCKS):
        file.close()


os.register_at_fork(after_in_child=_forget_locks)


@contextmanager
def told_if_unwritable(folder: str | Path, remedy: str) -> Iterator[None]:
    """Inside, an error of a full disk, or of one that can't be written to, says what to do.

    Args:
        folder: Where files are written.
        remedy: What to do once that is mended.

    Raises:
        LoadError: In place of the error; with the folder and the free space.
    """
    try:
        yield
    except Exception as error:
        is_disks = isinstance(error, OSError) and error.errno in _UNWRITABLE
        if not is_disks and not any(sign in str(error) for sign in _SIGNS):
            raise
        named = error.filename if isinstance(error, OSError) else None
        where = Path(named) if isinstance(named, str) else Path(folder)
        there = next(place for place in (where, *where.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free
        raise LoadError(
            f"{where} can't be written to ({error}), with {free / 1e9:.2f} GB free there: mend "
            f"that and {remedy}"
        ) from error
