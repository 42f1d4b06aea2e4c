"""How transformers loads gpt-oss's published checkpoints with their experts left packed.

transformers' own MXFP4 path unpacks them or needs a GPU kernel that can't train. These quantizers
put `PackedExperts` in the place of its experts before any weight is read; the checkpoint's bytes
then go where they belong by name, and nothing is ever unpacked.
"""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GptOssConfig,
    PreTrainedModel,
)
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from distmatch.errors import ConfigError
from distmatch.models.experts import MATRICES, PackedExperts
from distmatch.models.mxfp4 import quantize

_PACKED, _PACKED_NF4 = "distmatch_mxfp4", "distmatch_mxfp4_nf4"
_RANDOM_SCALE = 120  # random codes times 2**-7 have a standard deviation of 0.023


@register_quantization_config(_PACKED)
class PackedConfig(QuantizationConfigMixin):
    """Packed experts; everything else as in the checkpoint."""

    def __init__(self) -> None:
        """Nothing to decide."""
        super().__init__(quant_method=_PACKED)  # type: ignore[arg-type]  # theirs is an enum


@register_quantization_config(_PACKED_NF4)
class PackedNf4Config(BitsAndBytesConfig):
    """Packed experts, and the linear layers in bitsandbytes' NF4."""

    def __init__(self, **settings: Any) -> None:
        """As `BitsAndBytesConfig`."""
        super().__init__(**settings)
        self.quant_method = _PACKED_NF4  # type: ignore[assignment]


@register_quantizer(_PACKED)
class PackedQuantizer(HfQuantizer):
    """Loads packed experts."""

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **_kwargs: Any) -> None:
        pack_experts(model)

    def is_serializable(self) -> bool:
        """Whether the base can be saved: no, the checkpoint it was read from is all of it."""
        return False

    @property
    def is_trainable(self) -> bool:
        """Whether adapters train on it."""
        return True


@register_quantizer(_PACKED_NF4)
class PackedNf4Quantizer(Bnb4BitHfQuantizer):
    """Loads packed experts, and packs linear layers as they're read."""

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **kwargs: Any) -> None:  # type: ignore[override]
        pack_experts(model)
        super()._process_model_before_weight_loading(model, **kwargs)

    def is_serializable(self) -> bool:
        """Whether the base can be saved: no, the checkpoint it was read from is all of it."""
        return False


def save_packed(
    model: PreTrainedModel, directory: str | Path, *, max_shard_size: str = "5GB"
) -> None:
    """A gpt-oss as a checkpoint of the published kind; experts that aren't packed are rounded.

    Args:
        model: In memory, without an adapter.
        directory: Where config.json and the safetensors go; made if it isn't there.
        max_shard_size: Of one file.

    Raises:
        ConfigError: Linear layers are in NF4, or the directory holds a checkpoint, perhaps the one
            that the model's weights are still read from.
    """
    directory = Path(directory)
    if any(hasattr(getattr(m, "weight", None), "quant_type") for m in model.modules()):
        raise ConfigError(
            "linear layers in NF4 don't belong into a checkpoint of the published kind: load the "
            'model with quantization="mxfp4"'
        )
    if (directory / "config.json").exists():
        raise ConfigError(f"{directory} holds a checkpoint already: choose another directory")
    weights: dict[str, torch.Tensor] = {}
    for name, weight in model.state_dict().items():
        if name.rpartition(".")[2] in MATRICES and weight.dim() == 3:
            weights[f"{name}_blocks"], weights[f"{name}_scales"] = quantize(weight.mT)
        else:
            weights[name] = weight
    model.config.save_pretrained(directory)
    config_path = directory / "config.json"
    config = json.loads(config_path.read_text()) | {
        "architectures": [type(model).__name__],
        "quantization_config": {"quant_method": "mxfp4"},
    }
    config_path.write_text(json.dumps(config, indent=2) + "\n")
    save_torch_state_dict(
        weights, directory, max_shard_size=max_shard_size, metadata={"format": "pt"}
    )


def random_packed(
    config: GptOssConfig, device: str | torch.device, dtype: torch.dtype, *, seed: int = 0
) -> PreTrainedModel:
    """A gpt-oss of random weights with packed experts, made where it is to be.

    Nothing dense is made on the way, so it measures memory and speed where the real weights can't
    be had. Its answers mean nothing.

    Args:
        config: Any size: gpt-oss-20b has 24 blocks of 32 experts, the default is gpt-oss-120b.
        device: Where it's to be.
        dtype: Of what isn't packed.
        seed: Of the weights.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    pack_experts(model)
    model.to_empty(device=device)
    with torch.device(device):  # its tables are computed, not read
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("_blocks"):
                weight.random_(0, 256, generator=generator)
            elif name.endswith("_scales"):
                weight.fill_(_RANDOM_SCALE)
            elif weight.ndim > 1:
                weight.normal_(std=config.initializer_range, generator=generator)
            else:
                weight.fill_(float(name.endswith("norm.weight")))
    return model.eval()


def pack_experts(model: PreTrainedModel) -> None:
    """Replace every layer of experts by an empty packed one, on the meta device if it is there.

    Raises:
        ConfigError: There is none.
    """
    dense = {
        path: module for path, module in model.named_modules() if isinstance(module, GptOssExperts)
    }
    if not dense:
        raise ConfigError(
            f"this {type(model).__name__} has no experts of gpt-oss's kind to pack: "
            'give quantization=None, or "nf4" if it is dense'
        )
    for path, module in dense.items():
        with torch.device(module.down_proj.device):
            model.set_submodule(path, PackedExperts(module))
