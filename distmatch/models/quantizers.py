"""How transformers loads gpt-oss's published checkpoints with their experts left packed.

transformers' own MXFP4 path unpacks them or needs a GPU kernel that can't train. These quantizers
put `PackedExperts` in the place of its experts before any weight is read; the checkpoint's bytes
then go where they belong by name, and nothing is ever unpacked.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from distmatch.models.experts import MATRICES, PackedExperts
from distmatch.models.mxfp4 import quantize

_PACKED, _PACKED_NF4 = "distmatch_mxfp4", "distmatch_mxfp4_nf4"


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


def save_packed(model: PreTrainedModel, directory: str | Path) -> None:
    """A dense gpt-oss as a checkpoint of the published kind, its experts rounded to MXFP4.

    Args:
        model: In memory, without an adapter.
        directory: Where config.json and model.safetensors go; made if it isn't there.
    """
    directory = Path(directory)
    weights: dict[str, torch.Tensor] = {}
    for name, weight in model.state_dict().items():
        if name.rpartition(".")[2] in MATRICES and weight.dim() == 3:
            weights[f"{name}_blocks"], weights[f"{name}_scales"] = quantize(weight.mT)
        else:
            weights[name] = weight.contiguous()
    model.config.save_pretrained(directory)
    config_path = directory / "config.json"
    config = json.loads(config_path.read_text()) | {
        "architectures": [type(model).__name__],
        "quantization_config": {"quant_method": "mxfp4"},
    }
    config_path.write_text(json.dumps(config, indent=2) + "\n")
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def pack_experts(model: PreTrainedModel) -> None:
    """Replace every layer of experts by an empty packed one, on the meta device if it is there."""
    dense = {
        path: module for path, module in model.named_modules() if isinstance(module, GptOssExperts)
    }
    for path, module in dense.items():
        with torch.device(module.down_proj.device):
            model.set_submodule(path, PackedExperts(module))
