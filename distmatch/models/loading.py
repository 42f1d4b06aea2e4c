"""Models and tokenizers from where they lie: embedded, a directory, a GGUF file, or the hub.

Only safetensors and GGUF are read, never a pickle, and nothing is downloaded unless the name is a
hub id.
A checkpoint that leaves weights unset is refused, not filled with random numbers.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.quantization_config import Mxfp4Config

from distmatch.errors import (
    ConfigError,
    DistmatchError,
    LoadError,
    MissingExtraError,
    some,
    unknown_name,
)
from distmatch.models import gguf
from distmatch.models.checkpoints import (
    check_files,
    check_room,
    check_shapes,
    check_tokenizer,
    check_weights,
)
from distmatch.models.embedded import EMBEDDED_NAME, embedded_directory
from distmatch.models.footprint import empty_model, weight_bytes
from distmatch.models.loading_bar import counted_as_ours
from distmatch.models.proof import forward_way
from distmatch.models.quantizers import PackedConfig, PackedNf4Config

QUANTIZATIONS = ("nf4", "nf4+dense-experts", "mxfp4", "mxfp4+nf4")
"""What `load_model` can keep in memory instead of the checkpoint's weights."""

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""By the names that `load_model` and run files take."""

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")

logger = logging.getLogger(__name__)


def load_model(
    name: str,
    *,
    quantization: str | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | Mapping[str, str | int] | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model, ready to be scored or adapted, and its tokenizer.

    Args:
        name: `"smollm2-135m"` (embedded), a local directory, a GGUF file, or a hub id as
            owner/name.
        quantization: What stays in memory. None: the checkpoint's weights, an MXFP4 checkpoint's
            unpacked. `"nf4"`: linear layers in bitsandbytes' 4 bit; experts in stacked matrices
            would stay unpacked, which has to be asked for as `"nf4+dense-experts"`, and a GGUF
            file's values are rounded a second time, which is said. `"mxfp4"`:
            gpt-oss's experts as published, in 4 bit. `"mxfp4+nf4"`: its linear layers too.
        dtype: `"float64"`, `"float32"`, `"bfloat16"` or `"float16"`; None keeps the checkpoint's,
            and unpacks a GGUF file to float32, which holds its values exactly, as bfloat16 doesn't.
            Of a quantised model, the layers left unpacked.
        device: None is the first GPU where there is one, else the CPU; of processes that torchrun
            started each takes its own. `"auto"` shares the blocks out over all GPUs; a mapping from
            module paths to devices does it by hand (accelerate's `device_map`). Nothing is left on
            a CPU or disk beside GPUs.

    Raises:
        ConfigError: An unknown quantization or dtype, or a device that isn't there.
        LoadError: Nothing usable under that name, or no causal language model; a corrupt or
            incomplete checkpoint, or one of another model than its config describes; no room for
            it on the device; experts that `"nf4"` would leave unpacked, or `"mxfp4"` for a
            checkpoint that isn't.
        MissingExtraError: `"nf4"` without bitsandbytes.
    """
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise ConfigError(unknown_name("quantization", quantization, QUANTIZATIONS))
    dtype = None if dtype is None else named_dtype(dtype)
    placement = _placement(device)
    source = model_source(name)
    file = gguf.gguf_file(name)  # whose directory was checked when it was made
    directory = Path(source) if Path(source).is_dir() and file is None else None
    if directory is not None:
        check_files(directory)
    config = _read(AutoConfig, source)
    if getattr(config, "is_encoder_decoder", False):
        raise LoadError(
            f'"{name}" is an encoder with a decoder ({config.model_type}): load a causal '
            "language model, which reads prompt and answer as one text"
        )
    stored = (getattr(config, "quantization_config", None) or {}).get("quant_method")
    _check_quantization(name, quantization, stored)
    computing = dtype or getattr(config, "dtype", None) or torch.bfloat16
    if quantization is not None and "mxfp4" in quantization and computing == torch.float16:
        raise ConfigError("MXFP4 reaches farther than float16: give dtype='bfloat16' or 'float32'")
    empty = _built(source, lambda: empty_model(config, quantization, computing))
    forward_way(empty)  # refuses what isn't causal before its weights are read
    if quantization == "nf4":
        _refuse_unpacked_experts(name, empty)
    if directory is not None:
        check_weights(directory)
        check_tokenizer(directory)
    is_known = stored in (None, "mxfp4")  # else packed in a way that only transformers knows
    if directory is not None and is_known:
        check_shapes(directory, empty)
    on_gpu = torch.cuda.is_available()
    if isinstance(placement, torch.device):
        if is_known:
            check_room(weight_bytes(empty, quantization), placement, name)
        on_gpu = placement.type == "cuda"
        placement = {"": str(placement)}
    options: dict[str, Any] = {"dtype": dtype or "auto", "device_map": placement}
    options |= _quantized(config, quantization, stored, on_gpu)
    tokenizer = _read(AutoTokenizer, source)
    weights = _weights_source(source, tokenizer, quantization, dtype, file)
    return _read_model(weights, options), tokenizer


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer alone.

    Args:
        name: As for `load_model`.

    Raises:
        LoadError: Nothing usable under that name.
    """
    return _read(AutoTokenizer, model_source(name))


def load_config(name: str) -> PreTrainedConfig:
    """The config alone.

    Args:
        name: As for `load_model`.

    Raises:
        LoadError: Nothing usable under that name.
    """
    return _read(AutoConfig, model_source(name))


def named_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The dtype of a name, or itself.

    Raises:
        ConfigError: Not one that weights can have.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ConfigError(unknown_name("dtype", name, DTYPES))
    return DTYPES[name]


def mixed_dtype(precision: str | torch.dtype | None) -> torch.dtype | None:
    """The dtype of a mixed precision's name, or itself; None for none.

    Raises:
        ConfigError: Not one that products can be computed in beside float32.
    """
    if precision is None:
        return None
    dtype = named_dtype(precision)
    if dtype not in (torch.bfloat16, torch.float16):
        raise ConfigError(
            f'precision "{precision}" is no mixed one: give "bfloat16" or "float16", or none'
        )
    return dtype


def model_source(name: str) -> str:
    """What transformers is asked for: a directory that exists, or a hub id.

    Of a GGUF file the directory has config and tokenizer alone.
    """
    if name == EMBEDDED_NAME:
        return str(embedded_directory())
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if (file := gguf.gguf_file(name)) is not None:
        return str(gguf.described_gguf(file))
    if path.is_file():
        raise LoadError(
            f"{path} is no GGUF file, nor a directory: give a GGUF file, or the directory that "
            "save_pretrained wrote"
        )
    if path.suffix == ".gguf":
        raise LoadError(f"there is no file {path}: give the path of a GGUF file that exists")
    if _HUB_ID.fullmatch(name):
        return name
    raise LoadError(
        f"{unknown_name('model', name, (EMBEDDED_NAME,))} It isn't a directory or GGUF file "
        "either. A model of the hub is named owner/name"
    )


def _placement(
    device: str | torch.device | Mapping[str, str | int] | None,
) -> torch.device | Mapping[str, str | int] | str:
    """One device, or accelerate's device map."""
    if device == "auto" or isinstance(device, Mapping):
        return device
    num_gpus = torch.cuda.device_count()
    try:
        device = torch.device(device or (_own_gpu(num_gpus) if num_gpus else "cpu"))
    except RuntimeError as error:
        raise ConfigError(f'"{device}" is no device: give "cpu", "cuda:0" or "auto"') from error
    if device.type == "cuda" and (device.index or 0) >= num_gpus:
        there = f"{num_gpus} GPUs" if num_gpus else "no GPU"
        raise ConfigError(f'device "{device}" was asked for, and torch sees {there}: give "cpu"')
    return device


def _own_gpu(num_gpus: int) -> str:
    """Of this process: another than those of others that torchrun started beside it."""
    rank = int(os.environ.get("LOCAL_RANK") or -1)
    return "cuda" if rank < 0 else f"cuda:{rank % num_gpus}"


def _read(kind: Any, source: str, options: Mapping[str, Any] | None = None) -> Any:
    """What `kind.from_pretrained` gives, its errors in our words; no code of theirs is run."""
    told = {"trust_remote_code": False, **(options or {})}  # else it is asked for on stdin
    return _built(source, lambda: kind.from_pretrained(source, **told))


def _built(source: str, build: Callable[[], Any]) -> Any:
    try:
        return build()
    except DistmatchError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip()
        if "trust_remote_code" in reason:
            raise LoadError(
                f'"{source}" needs Python code of its own, which isn\'t run: load it with '
                "transformers and trust_remote_code=True, once you have read that code, and give "
                "model and tokenizer from there"
            ) from error
        hint = ""
        if not Path(source).is_dir():
            hint = f' (no directory "{source}" exists, so it was taken for a hub id)'
        raise LoadError(f'can\'t load "{source}"{hint}: {reason}') from error


def _weights_source(
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    quantization: str | None,
    dtype: torch.dtype | None,
    file: Path | None,
) -> str:
    """The source; of a GGUF file its conversion, and what its user may not expect is said."""
    if file is None:
        return source
    if tokenizer.chat_template is None:
        logger.warning(
            "%s has no chat template, so messages are joined by blank lines, as for a base model: "
            "if it is one that chats, set tokenizer.chat_template to what its publisher gives",
            file,
        )
    packs = quantization is not None and "nf4" in quantization
    if packs and (rounded := gguf.rounded_kinds(gguf.checked_gguf(file))):
        logger.warning(
            '%s is in %s, whose values "nf4" rounds a second time: measure what that costs, or '
            "load it unpacked",
            file,
            ", ".join(rounded),
        )
    return str(gguf.converted_gguf(file, dtype or torch.float32))


def _read_model(source: str, options: Mapping[str, Any]) -> PreTrainedModel:
    options = {**options, "use_safetensors": True, "output_loading_info": True}
    with counted_as_ours():
        model, report = _read(AutoModelForCausalLM, source, options)
    if missing := report["missing_keys"]:
        raise LoadError(
            f'the checkpoint of "{source}" lacks {some(missing)}, which would be random numbers: '
            f"its config describes a {type(model).__name__} it doesn't hold"
        )
    devices = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}
    if "disk" in devices or ("cpu" in devices and len(devices) > 1):
        raise LoadError(
            f'not all of "{source}" has room on the GPUs: {", ".join(sorted(devices))} would share '
            "it, and layers that come and go can't be trained. Load it in fewer bits, or on the CPU"
        )
    _keep_packing(model)
    return model


def _keep_packing(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from repacking 4-bit layers at their first evaluation.

    It does so on CPUs with AVX512-BF16, rounding to bfloat16: other numbers from then on, and a
    product without a backward pass, so that LoRA below such a layer trained on wrong gradients.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _check_quantization(name: str, quantization: str | None, stored: str | None) -> None:
    """Refuse a quantisation that the checkpoint, stored in some way, can't be loaded in."""
    if quantization is None:
        return
    if quantization.startswith("nf4") and stored == "mxfp4":
        raise LoadError(
            f'the experts of "{name}" are packed already: load it with '
            'quantization="mxfp4+nf4", or None to unpack them'
        )
    if quantization.startswith("mxfp4") and stored != "mxfp4":
        raise LoadError(
            f'"{quantization}" is for gpt-oss whose experts are in MXFP4, as published, and those '
            f'of "{name}" aren\'t: load it with quantization=None, or "nf4" if it is dense'
        )


def _quantized(
    config: PreTrainedConfig, quantization: str | None, stored: str | None, on_gpu: bool
) -> dict[str, Any]:
    """What transformers is to be told about the weights' storage."""
    if quantization is None:
        if stored != "mxfp4":
            return {}
        return {"quantization_config": Mxfp4Config(dequantize=True)}
    if not quantization.startswith("mxfp4"):
        return {"quantization_config": BitsAndBytesConfig(**_nf4_settings(on_gpu))}
    del config.quantization_config  # in the place of which comes ours
    if quantization == "mxfp4":
        return {"config": config, "quantization_config": PackedConfig()}
    return {"config": config, "quantization_config": PackedNf4Config(**_nf4_settings(on_gpu))}


def _nf4_settings(on_gpu: bool) -> dict[str, Any]:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "NF4 needs bitsandbytes, which is not installed: pip install bitsandbytes"
        ) from error
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        # bfloat16 is emulated on most CPUs: 2.4 times slower there than float32
        "bnb_4bit_compute_dtype": torch.bfloat16 if on_gpu else torch.float32,
    }


def _refuse_unpacked_experts(name: str, model: PreTrainedModel) -> None:
    """Refuse a mixture whose experts are stacked in 3-D parameters: bitsandbytes skips those."""
    stacks = (w for name, w in model.named_parameters() if ".experts." in name and w.dim() == 3)
    num_values = sum(weight.numel() for weight in stacks)
    if num_values:
        raise LoadError(
            f'"nf4" would leave the experts of "{name}" unpacked, {num_values * 2 / 1e9:.1f} GB '
            "in 16 bit: bitsandbytes packs linear layers only. Load a published gpt-oss with "
            'quantization="mxfp4+nf4"; "nf4+dense-experts" leaves them so knowingly'
        )
