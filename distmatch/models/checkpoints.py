"""Whether a checkpoint is whole and has room, found out before any of its weights is read."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import psutil
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from distmatch.errors import LoadError, some

_INDEX = "model.safetensors.index.json"
_AGAIN = "copy or save it again"


def check_files(directory: Path) -> None:
    """Refuse a directory without a config, or whose files aren't all there and whole.

    Raises:
        LoadError: Such a directory; says which file, and which tensors it should hold.
    """
    if not (directory / "config.json").is_file():
        hint = "give a directory written by save_pretrained"
        if (directory / "adapter_config.json").is_file():
            hint = "it holds an adapter: load its model, then load_adapter(model, path)"
        raise LoadError(f"{directory} has no config.json: {hint}")
    for path in sorted(directory.glob("*.safetensors")):
        check_safetensors(path)
    for filename, promised in _indexed(directory).items():
        path = directory / filename
        if not path.is_file():
            raise LoadError(f"{path} is missing, which holds {some(promised)}: copy it again")
        if lacking := promised - _shapes(path).keys():
            raise LoadError(f"{path} lacks {some(lacking)}, which {_INDEX} promises: {_AGAIN}")


def check_shapes(directory: Path, model: nn.Module) -> None:
    """Refuse tensors of other sizes than the model's of their names.

    Args:
        directory: Of the checkpoint.
        model: As its config describes it; on the meta device, as only shapes are looked at.

    Raises:
        LoadError: Such a tensor; says which, and in which file.
    """
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    for path in sorted(directory.glob("*.safetensors")):
        for name, shape in _shapes(path).items():
            # Some families lie transposed in their files: what counts is the axes' lengths
            if name in expected and sorted(shape) != sorted(expected[name]):
                raise LoadError(
                    f"{name} in {path} has shape {list(shape)}, and config.json says "
                    f"{list(expected[name])}: they are of different models"
                )


def check_safetensors(path: Path) -> None:
    """Refuse a file whose header can't be read or promises more bytes than there are.

    Raises:
        LoadError: Such a file.
    """
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise LoadError(f"{path} is corrupt or cut short ({error}): {_AGAIN}") from error


def check_room(num_bytes: int, device: torch.device, name: str) -> None:
    """Refuse weights that the device has no memory for.

    Args:
        num_bytes: Of all weights.
        device: Where they're to be.
        name: What they're called in the error.

    Raises:
        LoadError: There is less; says how much.
    """
    free = free_memory(device)
    if num_bytes > free:
        raise LoadError(
            f'the weights of "{name}" take {num_bytes / 1e9:.1f} GB, and {device} has '
            f"{free / 1e9:.1f} GB free: free some, choose another device, or load them in fewer "
            'bits (quantization="nf4", or "mxfp4" for gpt-oss; distmatch.memory_plan tells what '
            "each takes)"
        )


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a GPU, or can be had without swapping on a CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def _indexed(directory: Path) -> Mapping[str, set[str]]:
    """The tensors that a sharded checkpoint's index promises, by file."""
    path = directory / _INDEX
    promised: dict[str, set[str]] = defaultdict(set)
    if not path.is_file():
        return promised
    try:
        for name, filename in json.loads(path.read_text())["weight_map"].items():
            promised[filename].add(name)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise LoadError(f"{path} can't be read ({error}): {_AGAIN}") from error
    return promised


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Of every tensor in a file, from its header alone."""
    with safe_open(path, framework="pt") as tensors:
        return {
            name: tuple(tensors.get_slice(name).get_shape())
            for name in tensors.keys()  # noqa: SIM118  # it isn't a mapping
        }
