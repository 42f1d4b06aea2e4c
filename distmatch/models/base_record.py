"""What an adapter was trained on: recorded beside it, compared when it is loaded.

On other weights, or the same ones rounded otherwise, an adapter gives other probabilities without
any sign of it.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from distmatch.errors import LoadError, listed
from distmatch.models.experts import PackedExperts
from distmatch.models.gguf import ConvertedFrom

FILE = "base.json"

_TRAINED = ("lora_", "modules_to_save", "trainable_tokens")  # in the names of PEFT's own weights
_WRAPPERS = re.compile(r"\.(token_adapter|base_layer|original_module)|^base_model\.model\.")
# What differs between two loads of the same model, or between versions of transformers; trainers
# also align the ids of special tokens with the tokenizer's
_PASSING = ("architectures", "dtype", "quantization_config", "transformers_version", "use_cache")


def write_base_record(model: nn.Module, directory: str | Path) -> None:
    """Leave `base.json` beside an adapter.

    Args:
        model: The base, with or without adapters.
        directory: The adapter's.
    """
    record = json.dumps(base_record(model), indent=2)
    (Path(directory) / FILE).write_text(record + "\n")


def check_base_record(model: nn.Module, directory: str | Path) -> None:
    """Refuse an adapter of another base; one without a record is taken.

    Raises:
        LoadError: The record can't be read, or what differs.
    """
    _check(directory, base_record(model))


def check_base_config(config: PreTrainedConfig, directory: str | Path) -> None:
    """Refuse an adapter of a base with another config, before any weights are read.

    Args:
        config: Of the model that the adapter goes on, in a composite model that of its text.
        directory: The adapter's.

    Raises:
        LoadError: As of `check_base_record`, which also compares weights and quantization.
    """
    _check(directory, {"config": _config_record(config)})


def _check(directory: str | Path, given: dict[str, Any]) -> None:
    path = Path(directory) / FILE
    if not path.is_file():
        return
    try:
        trained = json.loads(path.read_text())
        differences = list(_differences(trained, trained | given))
        name = str(trained.get("name"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"{path} can't be read ({error}): copy it again, or delete it") from error
    if differences:
        file = ConvertedFrom.of(name)
        raise LoadError(
            f"the adapter {directory} was trained on another base, "
            f'"{name if file is None else file.name}": '
            f"{listed(differences, '; ')}. Load that base; or give other_base=True (--other-base) "
            "where that is taken, and measure again"
        )


def base_record(model: nn.Module) -> dict[str, Any]:
    """Name, quantisation, config and a hash of some weights of a model beneath its adapters.

    The hash is over the norms, and one row of the embedding, of each linear layer and of each
    stack of experts, rounded to bfloat16; what bitsandbytes has packed is left out. It tells a
    base model from its instruct model, and from one with an adapter merged into it.
    """
    config: PreTrainedConfig = model.config  # type: ignore[assignment]
    return {
        "name": config.name_or_path or type(model).__name__,
        "quantization": quantization_of(model),
        "config": _config_record(config),
        "weights": _digest(model),
    }


def quantization_of(model: nn.Module) -> str | None:
    """What some of its weights are packed in: "nf4", "mxfp4", "mxfp4+nf4"; None where none is."""
    kinds = {
        "mxfp4"
        if isinstance(module, PackedExperts)
        else getattr(getattr(module, "weight", None), "quant_type", "")
        for module in model.modules()
    }
    return "+".join(sorted(kinds - {""})) or None


def _config_record(config: PreTrainedConfig) -> dict[str, Any]:
    return _lasting(json.loads(config.to_json_string(use_diff=False)))


def _lasting(config: dict[str, Any]) -> dict[str, Any]:
    """What of a config belongs to the model, in nested configs too."""
    return {
        key: _lasting(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if not key.startswith("_") and not key.endswith("_token_id") and key not in _PASSING
    }


def _differences(trained: dict[str, Any], given: dict[str, Any]) -> Iterator[str]:
    if trained["quantization"] != given["quantization"]:
        yield f"quantization {trained['quantization']}, here {given['quantization']}"
    config, ours = trained["config"], given["config"]
    for key in sorted(config.keys() & ours.keys()):
        if _in_single(config[key]) != _in_single(ours[key]):
            yield f"{key} {config[key]}, here {ours[key]}"
    if trained["quantization"] == given["quantization"] and trained["weights"] != given["weights"]:
        yield "other weights"


def _in_single(value: Any) -> Any:
    """A config's value with its numbers as GGUF files have them, 1e-6 as 0.000000999999997."""
    if isinstance(value, dict):
        return {key: _in_single(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_in_single(part) for part in value]
    return float(np.float32(value)) if isinstance(value, float) else value


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(_sampled(model), key=lambda named: named[0]):
        digest.update(name.encode())
        if values.is_floating_point():
            values = values.to(torch.bfloat16).view(torch.int16)
        digest.update(values.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _sampled(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Values of every weight that no adapter trains, by their names without adapters."""
    for name, weight in model.named_parameters():
        if any(part in name for part in _TRAINED) or name.endswith("bias"):
            continue
        is_packed = name.endswith(("_blocks", "_scales"))
        if is_packed or weight.is_floating_point():
            row = weight.detach().flatten(0, -2)[0] if weight.ndim > 1 else weight.detach()
            yield re.sub(_WRAPPERS, "", name), row
