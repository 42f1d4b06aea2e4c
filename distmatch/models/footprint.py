"""A model's size, known from its config before any weight is read."""

import copy
import math
from functools import partial

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from distmatch.models.experts import MATRICES, PackedExperts, experts_forward, is_experts_layer
from distmatch.models.quantizers import pack_experts

_NF4_BLOCK = 64  # values with a scale of their own, one byte
_NF4_SCALES = 256  # scales with a scale of theirs, four bytes
_NF4_TABLES = 4 * (256 + 16) + 4  # the two codes, and the scales' mean


def empty_model(
    config: PreTrainedConfig,
    quantization: str | None,
    dtype: torch.dtype,
) -> PreTrainedModel:
    """The model on the meta device: modules and shapes, no memory.

    Args:
        config: The model's; left as it is.
        quantization: As for `load_model`; linear layers stay as they are under NF4.
        dtype: Of what isn't packed.

    Raises:
        ConfigError: Experts are to be packed in a model that has none of gpt-oss's.
    """
    config = copy.deepcopy(config)
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if quantization is not None and "mxfp4" in quantization:
        pack_experts(made)
    for module in made.modules():  # transformers' own forward asks for its index tensors' values
        if is_experts_layer(module):
            module.forward = partial(experts_forward, module, loras={})
    return made.eval()


def weight_bytes(model: PreTrainedModel, quantization: str | None) -> int:
    """The bytes its weights take once loaded; tied ones count once.

    Args:
        model: On any device, without an adapter.
        quantization: As for `load_model`.
    """
    total = sum(num_bytes(weight) for weight in [*model.parameters(), *model.buffers()])
    if quantization is None or "nf4" not in quantization:
        return total
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            total += _nf4_bytes(module.weight.numel()) - num_bytes(module.weight)
    return total


def num_parameters(model: PreTrainedModel) -> int:
    """How many numbers its weights are, packed or not."""
    packed = [module for module in model.modules() if isinstance(module, PackedExperts)]
    stored = sum(
        sum(t.numel() for t in module.packed(name)) for module in packed for name in MATRICES
    )
    meant = sum(math.prod(shape) for module in packed for shape in module.shapes.values())
    return model.num_parameters() - stored + meant


def num_bytes(tensor: Tensor) -> int:
    """The tensor's values' bytes."""
    return tensor.numel() * tensor.element_size()


def _nf4_bytes(values: int) -> int:
    blocks = -(-values // _NF4_BLOCK)
    return -(-values // 2) + blocks + 4 * -(-blocks // _NF4_SCALES) + _NF4_TABLES
