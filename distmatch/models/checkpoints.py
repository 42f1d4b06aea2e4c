"""Whether a checkpoint is whole and has room, found out before any of its weights is read."""

import json
from collections import defaultdict
from pathlib import Path

import psutil
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from distmatch.errors import LoadError, some

_ONE_FILE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "tekken.json", "*.gguf")
_AGAIN = "copy or save it again"


def check_files(directory: Path) -> None:
    """Refuse a directory without a config, or whose weights aren't all there and whole.

    Raises:
        LoadError: Such a directory; says which file, and which tensors it should hold.
    """
    if not (directory / "config.json").is_file():
        hint = "give a directory written by save_pretrained"
        if (directory / "adapter_config.json").is_file():
            hint = "it holds an adapter: load its model, then load_adapter(model, path)"
        elif files := sorted(directory.glob("*.gguf")):
            hint = f"give a GGUF file by its own path, such as {files[0]}"
        raise LoadError(f"{directory} has no config.json: {hint}")
    for path, promised in _weight_files(directory).items():
        if not path.is_file():
            raise LoadError(f"{path} is missing, which holds {some(promised)}: copy it again")
        check_safetensors(path)
        if lacking := promised - _shapes(path).keys():
            raise LoadError(f"{path} lacks {some(lacking)}, which {_INDEX} promises: {_AGAIN}")


def check_weights(directory: Path) -> None:
    """Refuse a directory without weights in safetensors.

    Raises:
        LoadError: Such a directory.
    """
    if _weight_files(directory):
        return
    hint = _AGAIN
    if pickles := [path.name for pattern in _PICKLES for path in directory.glob(pattern)]:
        hint = (
            f"{some(pickles)} is a pickle, which isn't read, as it can run any code: save it as "
            "safetensors (transformers' save_pretrained does)"
        )
    raise LoadError(f"{directory} has no {_ONE_FILE}: {hint}")


def check_tokenizer(directory: Path) -> None:
    """Refuse a directory without any file that a tokenizer could be read from.

    Raises:
        LoadError: Such a directory.
    """
    if not any(next(directory.glob(pattern), None) for pattern in _TOKENIZER_FILES):
        raise LoadError(
            f"{directory} holds no tokenizer (no tokenizer.json): save it there as well, "
            f'tokenizer.save_pretrained("{directory}")'
        )


def check_shapes(directory: Path, model: nn.Module) -> None:
    """Refuse tensors of other sizes than the model's of their names.

    Args:
        directory: Of the checkpoint, its files whole.
        model: As its config describes it; on the meta device, as only shapes are looked at.

    Raises:
        LoadError: Such a tensor; says which, and in which file.
    """
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    for path in _weight_files(directory):
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
    """Refuse weights that a GPU has no memory for now, or a CPU could never have.

    On a CPU weights may stay in their files until they're used, so what is free doesn't matter.

    Args:
        num_bytes: Of all weights.
        device: Where they're to be.
        name: What they're called in the error.

    Raises:
        LoadError: There is less; says how much.
    """
    is_cpu = device.type == "cpu"
    room = psutil.virtual_memory().total if is_cpu else free_memory(device)
    if num_bytes > room:
        raise LoadError(
            f'the weights of "{name}" take {_size(num_bytes)}, and {device} has {_size(room)} '
            f"{'in all' if is_cpu else 'free'}: choose another device, or load them in fewer bits "
            '(quantization="nf4", or "mxfp4" for gpt-oss); distmatch.memory_plan tells what each '
            "takes"
        )


def free_memory(device: torch.device) -> int:
    """Bytes that torch can still take on a GPU, or that a CPU has without swapping."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return psutil.virtual_memory().available


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def _weight_files(directory: Path) -> dict[Path, set[str]]:
    """The files transformers would read, and which tensors an index promises in each."""
    index = directory / _INDEX
    if (directory / _ONE_FILE).is_file():
        return {directory / _ONE_FILE: set()}
    promised: dict[Path, set[str]] = defaultdict(set)
    if index.is_file():
        try:
            for name, filename in json.loads(index.read_text())["weight_map"].items():
                promised[directory / filename].add(name)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise LoadError(f"{index} can't be read ({error}): {_AGAIN}") from error
    return promised


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Of every tensor in a file, from its header alone."""
    with safe_open(path, framework="pt") as tensors:
        return {
            name: tuple(tensors.get_slice(name).get_shape())
            for name in tensors.keys()  # noqa: SIM118  # it isn't a mapping
        }
