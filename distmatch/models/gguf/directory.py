"""A GGUF file as directories that `from_pretrained` loads, converted once and kept in the cache.

What describes a model (config and tokenizer) is written at its first mention, its weights when it
is first loaded in a precision. The file's bytes are the key, so one that is renamed or copied is
the same model, and one that is written anew is another.
"""

import hashlib
import logging
import re
import time
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoConfig

from distmatch.errors import LoadError
from distmatch.files import write_json, write_text
from distmatch.models.cache import SURE_NS, cache_root, check_free, made_once
from distmatch.models.footprint import empty_model
from distmatch.models.gguf.architectures import model_config
from distmatch.models.gguf.checks import check_model
from distmatch.models.gguf.stored import Gguf, read_gguf
from distmatch.models.gguf.tokenizer import token_ids, write_tokenizer
from distmatch.models.gguf.weights import Weight, keeps_mxfp4, planned_weights, write_weights

_FORMAT = 1  # part of the cache key: raise it when another model would be written
_KEY_LENGTH = 16  # of the hash, in names of directories
_STEM_LENGTH = 60  # of the file's name, there for people
_FOLDER = "gguf"
_CONVERTED = re.compile(rf"(.+)-([0-9a-f]{{{_KEY_LENGTH}}})-(float32|bfloat16)-v\d+")

logger = logging.getLogger(__name__)


class ConvertedFrom(NamedTuple):
    """The file that a directory of the cache was converted from."""

    name: str
    """As it was called when it was converted; of a longer one its beginning, and an ellipsis."""
    digest: str
    """What its SHA-256 begins with."""
    precision: str
    """That its values were unpacked to."""

    @classmethod
    def of(cls, directory: str) -> "ConvertedFrom | None":
        """By the name of the directory, which need not be there; None if it is no such one."""
        path = Path(directory)
        found = _CONVERTED.fullmatch(path.name) if path.parent.name == _FOLDER else None
        if found is None:
            return None
        end = ".gguf" if len(found[1]) < _STEM_LENGTH else "..."
        return cls(f"{found[1]}{end}", found[2], found[3])


def checked_gguf(path: Path) -> Gguf:
    """The header of a file that is a whole model's.

    Raises:
        LoadError: It isn't; says what it is and what to do.
    """
    gguf = read_gguf(path)
    check_model(gguf)
    return gguf


def bytes_digest(path: Path) -> str:
    """The SHA-256 of a file, remembered in the cache for as long as nobody touches the file.

    Raises:
        LoadError: The cache can't be written.
    """
    status = path.stat()
    seen = (
        *(path.resolve(), status.st_size, status.st_ino),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )
    is_settled = time.time_ns() - max(seen[-2:]) > SURE_NS  # else it may yet change unseen
    note = _folder() / "seen" / hashlib.sha256(repr(seen).encode()).hexdigest()
    if note.is_file():
        return note.read_text(encoding="utf-8")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not is_settled:
        return digest
    try:
        write_text(note, digest)
    except OSError as error:
        raise LoadError(
            f"can't write to {note.parent} ({error}): point the environment variable "
            "DISTMATCH_CACHE at a directory that can be written to"
        ) from error
    return digest


def described_gguf(path: Path) -> Path:
    """A directory with the model's config and tokenizer, and no weights.

    Raises:
        LoadError: The file is no model's or can't be read, or the cache can't be written.
    """
    return made_once(
        _kept(path, "described"), lambda part: _describe(checked_gguf(path), part, "float32")
    )


def converted_gguf(path: Path, precision: torch.dtype) -> Path:
    """A directory with all of the model.

    Args:
        path: Of the file.
        precision: That it is to be loaded in; other than bfloat16, float32 is kept.

    Raises:
        LoadError: The file is no model's or can't be read, or the cache can't be written or has
            too little room.
    """
    name = "bfloat16" if precision == torch.bfloat16 else "float32"
    return made_once(_kept(path, name), lambda part: write_model(checked_gguf(path), part, name))


def write_model(gguf: Gguf, directory: Path, precision: str) -> None:
    """Write config, tokenizer and weights.

    Args:
        gguf: A checked file.
        directory: Which exists.
        precision: Of what isn't packed: `"float32"`, or `"bfloat16"`.

    Raises:
        LoadError: The file isn't a whole model's, or the disk has too little room.
    """
    _describe(gguf, directory, precision)
    weights = _planned(gguf, directory, precision)
    check_free(directory, sum(weight.num_bytes for weight in weights.values()), gguf.path.name)
    logger.info("converting %s once, into %s", gguf.path, directory)
    write_weights(weights, directory, gguf.path.name)


def _describe(gguf: Gguf, directory: Path, precision: str) -> None:
    """Write configs and tokenizer, once the weights are known to fit them."""
    ids = token_ids(gguf)
    config = model_config(gguf, ids, precision)
    if keeps_mxfp4(gguf):
        config["quantization_config"] = {"quant_method": "mxfp4"}
    write_json(directory / "config.json", config)
    write_json(directory / "generation_config.json", ids)
    _planned(gguf, directory, precision)
    write_tokenizer(gguf, directory)


def _planned(gguf: Gguf, directory: Path, precision: str) -> dict[str, Weight]:
    dtype = getattr(torch, precision)
    try:
        empty = empty_model(AutoConfig.from_pretrained(directory), None, dtype)
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        raise LoadError(
            f"the metadata of {gguf.path} describe no model that can be built ({error}): convert "
            "it again with a current llama.cpp"
        ) from error
    return planned_weights(gguf, empty, dtype)


def _kept(path: Path, what: str) -> Path:
    """Where something of the file is kept, or will be; found by the file's bytes alone."""
    key = f"{bytes_digest(path)[:_KEY_LENGTH]}-{what}-v{_FORMAT}"
    named = _folder() / f"{path.stem[:_STEM_LENGTH]}-{key}"
    return next(iter(sorted(_folder().glob(f"*-{key}"))), named)


def _folder() -> Path:
    return cache_root() / _FOLDER
