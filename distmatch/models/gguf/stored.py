"""What a GGUF file holds: metadata, and tensors in the kinds they're stored in.

The package `gguf` knows the kinds and unpacks them. Its reader takes ten seconds for a vocabulary
of 150,000 tokens, so the header is read here.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from distmatch.errors import LoadError, shown, some
from distmatch.models.gguf.named import MAGIC

_VERSIONS = (2, 3)
_AGAIN = "download or copy it again"
# Of each kind that isn't plain floats the package has a class of its name
_UNPACKED = {
    int(kind)
    for kind in GGMLQuantizationType
    if kind.name in ("F32", "F16") or hasattr(quants, kind.name)
}
# Unpacked at a time, so that little passes; and in rows, of which the package takes 16 at a time,
# twice as fast in long ones as in a small model's
_GROUP, _ROW = 1 << 20, 1 << 12


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies and how it is stored; its shape is that of its values."""

    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    start: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Gguf:
    """A file's header, and its tensors by memory map."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]

    @property
    def architecture(self) -> str:
        """llama.cpp's name of it, such as "qwen2"."""
        return str(self.metadata.get("general.architecture"))

    def about(self, key: str, default: Any = None) -> Any:
        """What the metadata say of the architecture, such as "attention.head_count"."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def needed(self, key: str) -> Any:
        """The same of what a model can't do without.

        Raises:
            LoadError: It isn't there.
        """
        value = self.about(key)
        if value is None:
            raise LoadError(
                f"{self.path} lacks {self.architecture}.{key}, without which its model is unknown: "
                "convert it again with a current llama.cpp"
            )
        return value

    def packed(self, name: str) -> np.ndarray:
        """A tensor's bytes as they lie in the file, a row of values a row."""
        tensor = self.tensors[name]
        stored = np.memmap(self.path, np.uint8, "r", tensor.start, (tensor.num_bytes,))
        return np.asarray(stored).reshape(*tensor.shape[:-1], -1)

    def values(self, name: str) -> np.ndarray:
        """A tensor unpacked to float32."""
        tensor = self.tensors[name]
        in_block, block_bytes = GGML_QUANT_SIZES[tensor.kind]
        stored, unpacked = self.packed(name).reshape(-1), np.empty(prod(tensor.shape), np.float32)
        for first in range(0, len(unpacked), _GROUP):
            group = unpacked[first : first + _GROUP]
            start, size = (count // in_block * block_bytes for count in (first, len(group)))
            num_rows = 1 if len(group) % _ROW else len(group) // _ROW
            rows = stored[start : start + size].reshape(num_rows, -1)
            # A scale may be infinite in a damaged file; that is found where weights are looked at
            with np.errstate(over="ignore", invalid="ignore"):
                group[:] = quants.dequantize(rows, tensor.kind).reshape(-1)
        return unpacked.reshape(tensor.shape)


def read_gguf(path: Path) -> Gguf:
    """The header of a file, which promises no more than the file has.

    Raises:
        LoadError: It can't be read, is cut short or of another version, or a tensor is of a kind
            that can't be unpacked.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            header = _Cursor(mapped).header(path)
            size = len(mapped)
    except (struct.error, UnicodeDecodeError, KeyError, MemoryError) as error:
        raise LoadError(f"the header of {path} is corrupt or cut short: {_AGAIN}") from error
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} can't be read as GGUF ({error}): {_AGAIN}") from error
    ends = [tensor.start + tensor.num_bytes for tensor in header.tensors.values()]
    if ends and max(ends) > size:
        raise LoadError(
            f"{path} is cut short: its header promises {max(ends):,} bytes, and it has {size:,}: "
            f"{_AGAIN}"
        )
    return header


def rounded_kinds(gguf: Gguf) -> list[str]:
    """The kinds of a file's tensors that aren't floats, such as "Q4_K"."""
    floats = {"F32", "F16", "BF16"}
    return sorted({tensor.kind.name for tensor in gguf.tensors.values()} - floats)


class _Cursor:
    """A place in the bytes, moved on by every read."""

    NUMBERS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}  # kinds as struct codes
    STRING, ARRAY = 8, 9

    def __init__(self, content: mmap.mmap) -> None:
        self.content = content
        self.position = len(MAGIC)

    def header(self, path: Path) -> Gguf:
        version = self.number("I")
        if version not in _VERSIONS:
            told = "of a big-endian machine" if version & 0xFFFF == 0 else f"of version {version}"
            raise LoadError(
                f"{path} is a GGUF file {told}, and those of versions 2 and 3 are read: convert it "
                "again with a current llama.cpp"
            )
        num_tensors, num_entries = self.number("Q"), self.number("Q")
        metadata = {self.string(): self.value(self.number("I")) for _ in range(num_entries)}
        found = [self.tensor() for _ in range(num_tensors)]
        alignment = metadata.get("general.alignment", 32)
        start = -(-self.position // alignment) * alignment
        _check_kinds(path, {name: kind for name, _, kind, _ in found})
        tensors = {
            name: _stored(path, name, shape, GGMLQuantizationType(kind), start + offset)
            for name, shape, kind, offset in found
        }
        return Gguf(path, metadata, tensors)

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.string()
        shape = tuple(self.number("Q") for _ in range(self.number("I")))[::-1]
        return name, shape, self.number("I"), self.number("Q")

    def number(self, code: str) -> Any:
        (number,) = struct.unpack_from("<" + code, self.content, self.position)
        self.position += struct.calcsize("<" + code)
        return number

    def string(self) -> str:
        return self.taken(self.number("Q")).decode()

    def strings(self, count: int) -> list[str]:
        """As `string` gives them one by one, in a third of the time: a vocabulary has 300,000."""
        content, position, read = self.content, self.position, struct.Struct("<Q").unpack_from
        found = []
        for _ in range(count):
            (length,) = read(content, position)
            end = position + 8 + length
            found.append(content[position + 8 : end].decode())
            position = end
        if position > len(content):
            raise struct.error("past the end")
        self.position = position
        return found

    def taken(self, length: int) -> bytes:
        taken = self.content[self.position : self.position + length]
        if len(taken) < length:
            raise struct.error("past the end")
        self.position += length
        return taken

    def value(self, kind: int) -> Any:
        if kind == self.STRING:
            return self.string()
        if kind != self.ARRAY:
            return self.number(self.NUMBERS[kind])
        kind, length = self.number("I"), self.number("Q")
        if kind == self.STRING:
            return self.strings(length)
        if kind not in self.NUMBERS:
            return [self.value(kind) for _ in range(length)]
        code = np.dtype("<" + self.NUMBERS[kind])
        return np.frombuffer(self.taken(length * code.itemsize), code).tolist()


def _check_kinds(path: Path, kinds: Mapping[str, int]) -> None:
    if unknown := {name: kind for name, kind in kinds.items() if kind not in _UNPACKED}:
        names = {int(kind): kind.name for kind in GGMLQuantizationType}
        told = sorted({names.get(kind, f"number {kind}") for kind in unknown.values()})
        raise LoadError(
            f"{path} stores {some(unknown)} in {', '.join(told)}, which can't be unpacked: take "
            "the model in another quantisation, such as Q8_0 or Q4_K_M"
        )


def _stored(
    path: Path, name: str, shape: tuple[int, ...], kind: GGMLQuantizationType, start: int
) -> StoredTensor:
    values, size = GGML_QUANT_SIZES[kind]
    if not shape or shape[-1] % values or not prod(shape):
        raise LoadError(
            f"{name} in {path} has shape {shown(list(shape))}, which blocks of {values} values "
            f"({kind.name}) can't fill: {_AGAIN}"
        )
    return StoredTensor(shape, kind, start, prod(shape) // values * size)
