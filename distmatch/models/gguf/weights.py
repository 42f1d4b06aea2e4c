"""A file's weights in transformers' names and layout, written as safetensors.

Tensors are unpacked one by one. gpt-oss's experts stay packed where the file has them in MXFP4:
the same codes and scales, in the layout of its published checkpoints.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from gguf.constants import GGMLQuantizationType
from safetensors.torch import save_file
from torch import Tensor, nn

from distmatch.errors import LoadError, some
from distmatch.models.gguf import rope
from distmatch.models.gguf.architectures import architecture_of
from distmatch.models.gguf.stored import Gguf
from distmatch.progress import phase

_SHARD_BYTES = 2 << 30
_MOST_AT_ONCE = 2  # made beside each other, each of which takes several times its size
_EXPERTS = "mlp.experts."
_NO_WEIGHTS = (rope.FACTORS, rope.LONG, rope.SHORT)


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor to be written: its shape and dtype, and how it is made."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    sources: tuple[str, ...]
    """Names in the file."""
    make: Callable[[], np.ndarray]

    @property
    def num_bytes(self) -> int:
        """Once written."""
        return prod(self.shape) * self.dtype.itemsize

    def made(self) -> Tensor:
        """The tensor."""
        return torch.from_numpy(self.make()).to(self.dtype)


def keeps_mxfp4(gguf: Gguf) -> bool:
    """Whether all stacks of experts lie in MXFP4, as published."""
    kinds = {
        tensor.kind
        for name, tensor in gguf.tensors.items()
        if name.endswith(("_exps.weight", "_exps"))
    }
    return kinds == {GGMLQuantizationType.MXFP4}


def planned_weights(gguf: Gguf, empty: nn.Module, dtype: torch.dtype) -> dict[str, Weight]:
    """What is to be written, by transformers' names; known from the header alone.

    Args:
        gguf: A checked file.
        empty: The model its config describes, on the meta device; experts unpacked.
        dtype: Of what isn't packed.

    Raises:
        LoadError: The file lacks tensors, has some that the model has no place for, or of another
            shape.
    """
    weights: dict[str, Weight] = {}
    expected = {name: tuple(weight.shape) for name, weight in empty.named_parameters()}
    names = _stored_names(gguf, expected)
    _check_complete(gguf, type(empty).__name__, names)
    for name, shape in expected.items():
        stored = names[name]
        _check_shape(gguf, name, stored, shape)
        if _EXPERTS in name:
            weights |= _expert_weights(gguf, name, stored, shape, dtype)
        else:
            weights[name] = Weight(shape, dtype, stored, _reader(gguf, stored[0]))
    return weights


def write_weights(weights: Mapping[str, Weight], directory: Path, name: str) -> None:
    """Make and write the weights, a file of about 2 GB at a time, with a progress bar.

    Args:
        weights: Of `planned_weights`.
        directory: Which exists.
        name: Of the file, for the bar.
    """
    shards = list(_shards(weights))
    files: dict[str, str] = {}
    total = sum(weight.num_bytes for weight in weights.values())
    with (
        phase(f"converting {name}", float(total)) as converting,
        ThreadPoolExecutor(_MOST_AT_ONCE) as pool,
    ):
        for number, shard in enumerate(shards, start=1):
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
            file = "model.safetensors" if len(shards) == 1 else file
            tensors: dict[str, Tensor] = {}
            made = pool.map(Weight.made, (weights[key] for key in shard))
            for key, tensor in zip(shard, made, strict=True):
                tensors[key] = tensor
                converting.advance(weights[key].num_bytes)
            save_file(tensors, directory / file, metadata={"format": "pt"})
            # safetensors hides its file from other users; a shared cache shouldn't
            (directory / file).chmod(directory.stat().st_mode & 0o666)
            files |= dict.fromkeys(shard, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": files}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def _shards(weights: Mapping[str, Weight]) -> Iterator[list[str]]:
    shard: list[str] = []
    size = 0
    for name, weight in weights.items():
        if shard and size + weight.num_bytes > _SHARD_BYTES:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += weight.num_bytes
    yield shard


def _stored_names(
    gguf: Gguf, expected: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, ...]]:
    """What in the file each of transformers' parameters is made of."""
    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == gguf.architecture)
    known = get_tensor_name_map(arch, gguf.needed("block_count"))
    names = {}
    for name in expected:
        if _EXPERTS in name:
            names[name] = _expert_names(name)
            continue
        module, _, kind = name.rpartition(".")
        if kind not in ("weight", "bias"):  # gpt-oss's sinks are a parameter by themselves
            module, kind = name, "weight"
        names[name] = (f"{known.get_name(module) or module}.{kind}",)
    return names


def _expert_names(name: str) -> tuple[str, ...]:
    block, matrix = name.split(".")[2], name.rpartition(".")[2]
    kind = "bias" if matrix.endswith("_bias") else "weight"
    sites = ("gate", "up") if matrix.startswith("gate_up") else ("down",)
    return tuple(f"blk.{block}.ffn_{site}_exps.{kind}" for site in sites)


def _check_complete(gguf: Gguf, model: str, names: Mapping[str, tuple[str, ...]]) -> None:
    wanted = {stored for sources in names.values() for stored in sources}
    if missing := wanted - gguf.tensors.keys():
        raise LoadError(
            f"{gguf.path} lacks {some(missing)}, which a {model} has: download or convert it again"
        )
    if left := gguf.tensors.keys() - wanted - set(_NO_WEIGHTS):
        raise LoadError(
            f"{gguf.path} holds {some(left)}, which a {model} has no place for: load the model's "
            "safetensors, from the hub or a directory"
        )


def _check_shape(gguf: Gguf, name: str, stored: tuple[str, ...], shape: tuple[int, ...]) -> None:
    for source in stored:
        found = list(gguf.tensors[source].shape)
        if len(stored) == 2:
            found[1] *= 2
        wanted = [list(shape)]
        if len(shape) > 1 and (_EXPERTS in name or gguf.architecture == "gpt2"):
            wanted.append([*shape[:-2], shape[-1], shape[-2]])  # may lie transposed
        if found not in wanted:
            raise LoadError(
                f"{source} in {gguf.path} has shape {list(gguf.tensors[source].shape)}, and its "
                f"metadata say {list(shape)} for {name}: download or convert it again"
            )


def _reader(gguf: Gguf, stored: str) -> Callable[[], np.ndarray]:
    laid = architecture_of(gguf).laid
    return lambda: laid(gguf, stored, gguf.values(stored))


def _expert_weights(
    gguf: Gguf, name: str, stored: tuple[str, ...], shape: tuple[int, ...], dtype: torch.dtype
) -> dict[str, Weight]:
    """One stack of matrices, or of biases; gate's and up's rows take turns in transformers."""
    if name.endswith("_bias"):
        make = lambda: _in_turns([gguf.values(source) for source in stored])  # noqa: E731
        return {name: Weight(shape, dtype, stored, make)}
    if not keeps_mxfp4(gguf):
        make = lambda: np.ascontiguousarray(  # noqa: E731
            _in_turns([gguf.values(source) for source in stored]).swapaxes(1, 2)
        )
        return {name: Weight(shape, dtype, stored, make)}
    experts, inputs, outputs = shape
    scales = (experts, outputs, inputs // 32)
    return {
        f"{name}_blocks": Weight(
            (*scales, 16),
            torch.uint8,
            stored,
            lambda: _in_turns([_blocks(gguf, source) for source in stored]),
        ),
        f"{name}_scales": Weight(
            scales,
            torch.uint8,
            stored,
            lambda: _in_turns([_groups(gguf, source)[..., 0] for source in stored]),
        ),
    }


def _in_turns(stacks: list[np.ndarray]) -> np.ndarray:
    """Stacks joined along their second axis, a row of each in turn."""
    first = stacks[0]
    return np.stack(stacks, axis=2).reshape(first.shape[0], -1, *first.shape[2:])


def _groups(gguf: Gguf, stored: str) -> np.ndarray:
    """MXFP4 groups of 17 bytes: a scale, and 32 codes."""
    packed = gguf.packed(stored)
    return packed.reshape(*packed.shape[:-1], -1, 17)


def _blocks(gguf: Gguf, stored: str) -> np.ndarray:
    """The codes with neighbours in a byte; in the file a byte has codes j and j + 16."""
    bytes_ = _groups(gguf, stored)[..., 1:]
    first, second = bytes_ & 0xF, bytes_ >> 4
    low = np.concatenate([first[..., ::2], second[..., ::2]], axis=-1)
    high = np.concatenate([first[..., 1::2], second[..., 1::2]], axis=-1)
    return low | high << 4
