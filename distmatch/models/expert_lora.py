"""PEFT's LoRA on stacks of experts, without its dense update.

PEFT adapts a parameter by adding B @ A to the whole stack, and autograd keeps that sum: for
gpt-oss-20b 38 GB over its 24 layers. Here PEFT still places, names, saves and loads the LoRAs, so
adapters are stock ones, but the layer's forward is ours (`experts_forward`), packed or dense.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import peft
import torch
from peft.tuners.lora import layer
from peft.tuners.tuners_utils import check_adapters_to_merge
from peft.utils import transformers_weight_conversion
from torch import Tensor, nn

from distmatch.errors import ConfigError
from distmatch.models.experts import (
    ExpertLora,
    PackedExperts,
    experts_forward,
    is_experts_layer,
)
from distmatch.models.mxfp4 import dequantize, quantize


class ParamWrapper(layer.ParamWrapper):
    """The LoRAs of one stack; where two stacks of a layer are adapted, one wraps the other.

    Named as PEFT's own: PEFT recognises wrappers by the name of their class.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output, with the active LoRAs of this wrapper and those inside it."""
        self._check_forward_args(x, *args, **kwargs)
        if self.merged:
            return super().forward(x, *args, **kwargs)
        chosen, weights = args
        loras: dict[str, list[ExpertLora]] = {}
        wrapper: nn.Module = self
        while isinstance(wrapper, ParamWrapper):
            loras[wrapper.parameter_name] = wrapper.active_loras()
            wrapper = wrapper.base_layer
        if not any(loras.values()):  # switched off, it is the base to the bit
            return wrapper(x, chosen, weights)
        return experts_forward(wrapper, x, chosen, weights, loras)

    def active_loras(self) -> list[ExpertLora]:
        """Those that are switched on."""
        if self.disable_adapters:
            return []
        return [self._lora(name) for name in self.active_adapters if name in self.lora_A]

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """As PEFT's; packed experts are unpacked and packed again, one by one."""
        experts = self.get_base_layer()
        if not isinstance(experts, PackedExperts):
            super().merge(safe_merge, adapter_names)
            return
        names = [n for n in check_adapters_to_merge(self, adapter_names) if n in self.lora_A]
        loras = [self._lora(name) for name in names]
        blocks, scales = experts.packed(self.parameter_name)
        with torch.no_grad():
            for e in range(experts.num_experts):
                matrix = dequantize(blocks[e], scales[e], torch.float32)
                for a, b, scaling in loras:
                    matrix += scaling * (b[e] @ a[e])
                if safe_merge and not matrix.isfinite().all():
                    raise ValueError(f"the adapters {names} hold numbers that aren't finite")
                blocks.data[e], scales.data[e] = quantize(matrix)
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """As PEFT's, on dense experts.

        Raises:
            ConfigError: The experts are packed: what was rounded away doesn't come back.
        """
        if isinstance(self.get_base_layer(), PackedExperts):
            raise ConfigError("merging into packed experts can't be undone: load the model again")
        super().unmerge()

    def get_param(self) -> Tensor:
        """The dense stack; of a packed one a stand-in on the meta device, with its shape."""
        experts = self.get_base_layer()
        if isinstance(experts, PackedExperts):
            return torch.empty(experts.shapes[self.parameter_name], device="meta")
        return getattr(experts, self.parameter_name)

    def _lora(self, adapter_name: str) -> ExpertLora:
        """A's rows go expert by expert, B's columns rank by rank: PEFT's layout."""
        a: Tensor = self.lora_A[adapter_name].weight  # type: ignore[assignment]
        b: Tensor = self.lora_B[adapter_name].weight  # type: ignore[assignment]
        by_expert = b.unflatten(1, (-1, self.num_experts)).permute(2, 0, 1)
        return ExpertLora(
            a.unflatten(0, (self.num_experts, -1)), by_expert, self.scaling[adapter_name]
        )

    def _move_adapter_to_device_of_base_layer(
        self, adapter_name: str, device: torch.device | None = None
    ) -> None:
        if not isinstance(self.get_base_layer(), PackedExperts):
            super()._move_adapter_to_device_of_base_layer(adapter_name, device)
            return
        device = device or next(self.get_base_layer().parameters()).device
        for halves in (self.lora_A, self.lora_B):
            if halves[adapter_name].weight.device.type != "meta":
                halves[adapter_name].to(device)


@contextmanager
def factored_experts(model: nn.Module, config: peft.PeftConfig) -> Iterator[None]:
    """Inside, PEFT puts a config's LoRAs on the model's experts as this module's wrappers.

    PEFT looks for parameters by name, so packed experts show stand-ins for their dense stacks.

    Args:
        model: The base, or a model that has adapters already.
        config: Of the adapter to be injected.
    """
    layers = {module for module in model.modules() if is_experts_layer(module)}
    if isinstance(config, peft.LoraConfig):
        config._register_custom_module({type(module): ParamWrapper for module in layers})
    packed = [module for module in layers if isinstance(module, PackedExperts)]
    for module in packed:
        for name, shape in module.shapes.items():
            stand_in = nn.Parameter(torch.empty(shape, device="meta"), requires_grad=False)
            module.register_parameter(name, stand_in)
    try:
        yield
    finally:
        for module in packed:
            for name in module.shapes:
                del module._parameters[name]


@contextmanager
def targets_as_written() -> Iterator[None]:
    """Inside, PEFT adapts the modules that a config names, in mixtures of experts too.

    For the sake of adapters from transformers 4, where experts were linear layers, PEFT rewrites
    such names; it takes those of DeepSeek's shared experts and dense blocks for them, and adapts
    all stacked experts in their place (peft issue 3711).
    """
    rewrite = transformers_weight_conversion.convert_peft_config_for_transformers
    transformers_weight_conversion.convert_peft_config_for_transformers = lambda *_, **__: None
    try:
        yield
    finally:
        transformers_weight_conversion.convert_peft_config_for_transformers = rewrite
