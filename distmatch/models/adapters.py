"""Saved adapters, checked and put onto the base they were trained on; and adapters switched off."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from distmatch.errors import ConfigError, LoadError, some
from distmatch.models.attaching import as_it_was
from distmatch.models.base_record import check_base_record
from distmatch.models.checkpoints import check_safetensors
from distmatch.models.expert_lora import factored_experts, targets_as_written
from distmatch.models.fused_lora import fuse_lora
from distmatch.models.head import unwrapped
from distmatch.models.merge_guard import refuse_merging
from distmatch.others_messages import without_attaching_warnings

_FILES = ("adapter_config.json", "adapter_model.safetensors")


def load_adapter(
    model: PreTrainedModel,
    path: str | Path,
    *,
    trainable: bool = False,
    other_base: bool = False,
) -> PeftModel:
    """The model with a PEFT adapter of a local directory on it, in eval mode.

    PEFT puts its layers into the model itself. The adapter's files are checked before that; if the
    adapter turns out not to fit the model, load the model again.

    Args:
        model: What the adapter was trained on.
        path: The directory.
        trainable: Whether the adapter is to be trained further; else it is frozen.
        other_base: Whether it is taken on another base than it was trained on, where it gives
            other probabilities.

    Raises:
        LoadError: A file is missing, corrupt or cut short, or the adapter doesn't fit the model
            or was trained on another.
    """
    path = Path(path)
    check_adapter(path)
    if not other_base:
        check_base_record(model, path)
    config = PeftConfig.from_pretrained(str(path))
    config.inference_mode = not trainable
    is_old = _is_of_transformers_4(model, path, config)
    as_written = nullcontext() if is_old else targets_as_written()
    with factored_experts(model, config), as_written, without_attaching_warnings():
        try:
            adapted = PeftModel.from_pretrained(model, path, is_trainable=trainable, config=config)
            # Loaded again because only this call says which keys it missed or had no place for.
            result = adapted.load_adapter(path, "default", is_trainable=trainable)
        except (ValueError, RuntimeError, TypeError, KeyError) as error:
            raise LoadError(f"the adapter {path} doesn't fit this model: {error}") from error
    if wrong := [*result.unexpected_keys, *result.missing_keys]:
        raise LoadError(
            f"the adapter {path} doesn't fit this model: {some(wrong)} stand only in one of "
            "the two. Use the model it was trained on"
        )
    refuse_merging(adapted)
    fuse_lora(adapted)
    return adapted.eval()


@contextmanager
def loaded_adapter(model: PreTrainedModel, path: str | Path) -> Iterator[PeftModel]:
    """Inside, the model has an adapter, as of `load_adapter`; afterwards it is as it was.

    Args:
        model: Without an adapter.
        path: As in `load_adapter`.

    Yields:
        The model with the adapter.

    Raises:
        LoadError: As `load_adapter`; if the adapter turned out not to fit, load the model again.
    """
    with as_it_was(model):
        adapted = load_adapter(model, path)
        try:
            yield adapted
        finally:
            adapted.unload()


def switched_off(model: nn.Module) -> AbstractContextManager[None]:
    """Inside, the model is its base: without its adapter, if it has one.

    Raises:
        ConfigError: It has adapters, but is no PeftModel.
    """
    base = unwrapped(model)
    if isinstance(base, PeftModel):
        return base.disable_adapter()
    if any(isinstance(module, BaseTunerLayer) for module in base.modules()):
        raise ConfigError(
            "the model holds adapters that can't be switched off: give the PeftModel that "
            "load_adapter or attach_lora returned"
        )
    return nullcontext()


def _is_of_transformers_4(model: nn.Module, path: Path, config: PeftConfig) -> bool:
    """Whether PEFT has to find new names for the linear layers that were experts and routers."""
    with safe_open(path / _FILES[1], framework="pt") as tensors:
        if any(re.search(r"\.experts\.\d+\.", name) for name in tensors.keys()):  # noqa: SIM118
            return True
    targets = getattr(config, "target_modules", None) or ()
    linear = [name for name, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)]
    return isinstance(targets, str) or not all(
        any(f".{name}".endswith(f".{target}") for name in linear) for target in targets
    )


def check_adapter(path: Path) -> None:
    """Refuse a directory that doesn't hold a whole adapter; needs no model.

    Raises:
        LoadError: A file is missing, corrupt or cut short.
    """
    if not path.is_dir():
        raise LoadError(f"{path} is not a directory: give one written by save_pretrained")
    for filename in _FILES:
        if (path / filename).is_file():
            continue
        hint = "give a directory written by save_pretrained"
        if (path / "adapter_model.bin").is_file():
            hint = "adapter_model.bin is a pickle, which is not read: save it as safetensors"
        raise LoadError(f"{path} has no {filename}: {hint}")
    check_safetensors(path / _FILES[1])
    try:
        PeftConfig.from_pretrained(str(path))
    except (ValueError, TypeError, KeyError) as error:
        raise LoadError(
            f"{path / _FILES[0]} can't be read ({error}): copy or save it again"
        ) from error
