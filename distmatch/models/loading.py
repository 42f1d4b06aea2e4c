"""Models and tokenizers from where they lie: embedded, a directory, or the hub.

Only safetensors are read, never a pickle, and nothing is downloaded unless the name is a hub id.
A checkpoint that leaves weights unset is refused, not filled with random numbers.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
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

from distmatch.errors import ConfigError, LoadError, MissingExtraError, unknown_name
from distmatch.models.embedded import EMBEDDED_NAME, embedded_directory
from distmatch.models.quantizers import PackedConfig, PackedNf4Config

QUANTIZATIONS = ("nf4", "nf4+dense-experts", "mxfp4", "mxfp4+nf4")

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")


def load_model(
    name: str,
    *,
    quantization: str | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model, ready to be scored or adapted, and its tokenizer.

    Args:
        name: `"smollm2-135m"` (embedded), a local directory, or a hub id as owner/name.
        quantization: What stays in memory. None: the checkpoint's weights, an MXFP4 checkpoint's
            unpacked. `"nf4"`: linear layers in bitsandbytes' 4 bit; experts in stacked matrices
            would stay unpacked, which has to be asked for as `"nf4+dense-experts"`. `"mxfp4"`:
            gpt-oss's experts as published, in 4 bit. `"mxfp4+nf4"`: its linear layers too.
        dtype: None keeps the checkpoint's. Of a quantised model, the layers left unpacked.
        device: None is the first GPU where there is one, else the CPU.

    Raises:
        ConfigError: An unknown quantization.
        LoadError: Nothing usable under that name, a corrupt or incomplete checkpoint, experts
            that `"nf4"` would leave unpacked, or `"mxfp4"` for a checkpoint that isn't.
        MissingExtraError: `"nf4"` without bitsandbytes.
    """
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise ConfigError(unknown_name("quantization", quantization, QUANTIZATIONS))
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    source = _source(name)
    if Path(source).is_dir():
        _check_checkpoint(Path(source))
    options = {"dtype": dtype or "auto", "device_map": {"": device}}
    options |= _quantized(source, quantization, device)
    tokenizer = _read(AutoTokenizer, source)
    return _read_model(source, options), tokenizer


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer alone.

    Args:
        name: As for `load_model`.

    Raises:
        LoadError: Nothing usable under that name.
    """
    return _read(AutoTokenizer, _source(name))


def load_config(name: str) -> PreTrainedConfig:
    """The config alone.

    Args:
        name: As for `load_model`.

    Raises:
        LoadError: Nothing usable under that name.
    """
    return _read(AutoConfig, _source(name))


def _source(name: str) -> str:
    """What transformers is asked for: a directory that exists, or a hub id."""
    if name == EMBEDDED_NAME:
        return str(embedded_directory())
    directory = Path(name).expanduser()
    if directory.is_dir():
        return str(directory)
    if _HUB_ID.fullmatch(name):
        return name
    raise LoadError(
        f"{unknown_name('model', name, (EMBEDDED_NAME,))} It isn't a directory either. "
        "A model of the hub is named owner/name"
    )


def _check_checkpoint(directory: Path) -> None:
    if not (directory / "config.json").is_file():
        hint = "give a directory written by save_pretrained"
        if (directory / "adapter_config.json").is_file():
            hint = "it holds an adapter: load its model, then load_adapter(model, path)"
        raise LoadError(f"{directory} has no config.json: {hint}")
    for path in sorted(directory.glob("*.safetensors")):
        check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Refuse a file whose header can't be read or promises more bytes than there are.

    Raises:
        LoadError: Such a file.
    """
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise LoadError(
            f"{path} is corrupt or cut short ({error}): copy or save it again"
        ) from error


def _read(kind: Any, source: str, options: Mapping[str, Any] | None = None) -> Any:
    """What `kind.from_pretrained` gives, its errors in our words."""
    try:
        return kind.from_pretrained(source, **(options or {}))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        hint = ""
        if not Path(source).is_dir():
            hint = f' (no directory "{source}" exists, so it was taken for a hub id)'
        raise LoadError(f'can\'t load "{source}"{hint}: {reason}') from error


def _read_model(source: str, options: Mapping[str, Any]) -> PreTrainedModel:
    options = {**options, "use_safetensors": True, "output_loading_info": True}
    model, report = _read(AutoModelForCausalLM, source, options)
    if missing := report["missing_keys"]:
        raise LoadError(
            f'the checkpoint of "{source}" lacks {some(missing)}, which would be random numbers: '
            f"its config describes a {type(model).__name__} it doesn't hold"
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


def some(keys: Iterable[str]) -> str:
    """The first three, and how many more there are."""
    keys = sorted(keys)
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _quantized(source: str, quantization: str | None, device: torch.device) -> dict[str, Any]:
    """What transformers is to be told about the weights' storage."""
    config = _read(AutoConfig, source)
    is_packed = (getattr(config, "quantization_config", None) or {}).get("quant_method") == "mxfp4"
    if quantization is None:
        return {"quantization_config": Mxfp4Config(dequantize=True)} if is_packed else {}
    if not quantization.startswith("mxfp4"):
        if is_packed:
            raise LoadError(
                f'the experts of "{source}" are packed already: load it with '
                'quantization="mxfp4+nf4", or None to unpack them'
            )
        if quantization == "nf4":
            _refuse_unpacked_experts(source, config)
        return {"quantization_config": BitsAndBytesConfig(**_nf4_settings(device))}
    if not is_packed:
        raise LoadError(
            f'"{quantization}" is for gpt-oss checkpoints as published, and the config of '
            f'"{source}" names no mxfp4: load it with quantization=None, or "nf4" if it is dense'
        )
    del config.quantization_config  # in the place of which comes ours
    if quantization == "mxfp4":
        return {"config": config, "quantization_config": PackedConfig()}
    return {"config": config, "quantization_config": PackedNf4Config(**_nf4_settings(device))}


def _nf4_settings(device: torch.device) -> dict[str, Any]:
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
        "bnb_4bit_compute_dtype": torch.bfloat16 if device.type == "cuda" else torch.float32,
    }


def _refuse_unpacked_experts(source: str, config: PreTrainedConfig) -> None:
    """Refuse a mixture whose experts are stacked in 3-D parameters: bitsandbytes skips those."""
    config = config.get_text_config()
    if not any(getattr(config, count, None) for count in _EXPERT_COUNTS):
        return
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    num_values = sum(weight.numel() for weight in model.parameters() if weight.dim() == 3)
    if num_values:
        raise LoadError(
            f'"nf4" would leave the experts of "{source}" unpacked, {num_values * 2 / 1e9:.1f} GB '
            "in 16 bit: bitsandbytes packs linear layers only. Load a published gpt-oss with "
            'quantization="mxfp4+nf4"; "nf4+dense-experts" leaves them so knowingly'
        )
