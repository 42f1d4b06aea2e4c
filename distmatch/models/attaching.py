"""A target handed to PEFT, and what PEFT made of it held against what was asked."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import peft
import torch
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from distmatch.errors import TargetingError, listed
from distmatch.models.blocks import Site
from distmatch.models.expert_lora import factored_experts, targets_as_written
from distmatch.models.fused_lora import fuse_lora
from distmatch.models.lora import LoraTarget, resolve
from distmatch.models.merge_guard import refuse_merging
from distmatch.others_messages import without_attaching_warnings


def attach_lora(
    model: PreTrainedModel, target: LoraTarget | peft.PeftConfig, *, seed: int | None = None
) -> peft.PeftModel:
    """The model with a stock PEFT adapter on exactly the asked weights; everything else frozen.

    The model is changed in place and stays in its mode, training or not. The adapter is in float32
    even if the model is in 16 or 4 bits, and starts as no change at all.

    Args:
        model: Without an adapter.
        target: A `LoraTarget`, or a PEFT config of weights, which is passed through unchanged.
        seed: Of the adapter's first weights; torch's generators are left as they were. None:
            they're drawn from torch's global generator.

    Raises:
        TargetingError: The target doesn't fit the model, the model already has an adapter, or
            PEFT made other weights trainable than those asked for.
    """
    _refuse_a_second_adapter(model)
    if isinstance(target, LoraTarget):
        sites = resolve(target, model)
        config: peft.PeftConfig = _lora_config(target, sites, model)
        with targets_as_written():
            adapted = _injected(model, config, seed)
        _require_exactly(sites, adapted)
    else:
        _refuse_prompts(target)
        adapted = _injected(model, copy.deepcopy(target), seed)  # PEFT writes into it
    refuse_merging(adapted)
    fuse_lora(adapted)
    return adapted.train(model.training)  # PEFT leaves its layers, so its dropout, in training mode


@contextmanager
def attached(
    model: PreTrainedModel, target: LoraTarget | peft.PeftConfig, *, seed: int | None = None
) -> Iterator[peft.PeftModel]:
    """Inside, the model has an adapter, as of `attach_lora`; afterwards it is as it was.

    Args:
        model: Without an adapter.
        target: As in `attach_lora`.
        seed: As in `attach_lora`.

    Yields:
        The model with the adapter.

    Raises:
        TargetingError: As `attach_lora`.
    """
    with as_it_was(model):
        adapted = attach_lora(model, target, seed=seed)
        try:
            yield adapted
        finally:
            adapted.unload()


@contextmanager
def as_it_was(model: PreTrainedModel) -> Iterator[None]:
    """Afterwards a model without adapters is as it was, once what was put onto it is unloaded.

    That takes in what PEFT and trainers change of a model: modes, the order of weights, which of
    them learn, gradients, the recomputing of activations, and the ids of special tokens.

    Args:
        model: Without an adapter.
    """
    modules = [(m, m.training, getattr(m, "gradient_checkpointing", None)) for m in model.modules()]
    orders = [(module, list(module._parameters)) for module in model.modules()]
    weights = [(weight, weight.requires_grad, weight.grad) for weight in model.parameters()]
    configs = [model.config, model.config.get_text_config(), model.generation_config]
    settings = [(config, dict(vars(config))) for config in configs if config is not None]
    had_hook = bool(getattr(model, "_require_grads_hooks", None))
    try:
        yield
    finally:
        if not had_hook:
            model.disable_input_require_grads()
        for module, is_training, is_checkpointing in modules:
            module.training = is_training
            if getattr(module, "gradient_checkpointing", None) != is_checkpointing:
                module.gradient_checkpointing = is_checkpointing  # type: ignore[assignment]
        for module, names in orders:  # PEFT puts a router's weight back behind its bias
            for name in names:
                module._parameters[name] = module._parameters.pop(name)
        for weight, learns, gradient in weights:
            weight.requires_grad, weight.grad = learns, gradient
        for config, values in settings:
            vars(config).clear()
            vars(config).update(values)


def _injected(model: PreTrainedModel, config: peft.PeftConfig, seed: int | None) -> peft.PeftModel:
    with _seeded(seed), factored_experts(model, config), without_attaching_warnings():
        return peft.get_peft_model(model, config)


def _refuse_prompts(config: peft.PeftConfig) -> None:
    """Refuse what puts learned states into the prompt, where every token's place is known here."""
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise TargetingError(
            f"a {type(config).__name__} writes into the prompt itself, which is taken here as the "
            "tokenizer gives it: give dm.lora(...), or a PEFT config that adapts weights"
        )


def _refuse_a_second_adapter(model: PreTrainedModel) -> None:
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise TargetingError(
            f"this {type(model).__name__} already has an adapter: attach to a model without one "
            "(the PEFT model's merge_and_unload() or unload() gives it back)"
        )


def _lora_config(target: LoraTarget, sites: list[Site], model: PreTrainedModel) -> peft.LoraConfig:
    modules = [site.path for site in sites if not site.is_parameter]
    parameters = [site.path for site in sites if site.is_parameter]
    if parameters and target.dropout:
        raise TargetingError(
            f"dropout {target.dropout} is impossible on experts and routers "
            f"({parameters[0]}): leave them out or set dropout to 0"
        )
    alpha = 2 * target.rank if target.alpha is None else target.alpha
    return peft.LoraConfig(
        r=target.rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # floats work, and are saved as they are
        lora_dropout=target.dropout,
        target_modules=modules,
        target_parameters=parameters or None,
        fan_in_fan_out=any(isinstance(model.get_submodule(path), Conv1D) for path in modules),
        task_type="CAUSAL_LM",
    )


def _require_exactly(sites: list[Site], adapted: peft.PeftModel) -> None:
    """Refuse an adapter whose trainable parameters aren't the two halves of every asked site.

    PEFT rewrites the targets of some mixture-of-experts models, and then adapts other weights.
    """
    base = adapted.get_base_model()
    layers = adapted_layers(base)
    asked = {site.path for site in sites}
    expected = {
        f"{layer}.lora_{half}.default.weight"
        for layer, path in layers.items()
        if path in asked
        for half in "AB"
    }
    trainable = {name for name, weight in base.named_parameters() if weight.requires_grad}
    missing = sorted((asked - set(layers.values())) | (expected - trainable))
    surplus = sorted(trainable - expected)
    if missing or surplus:
        raise TargetingError(
            "PEFT made other weights trainable than those asked for; "
            f"asked, but not trainable: {listed(missing) or 'none'}; "
            f"trainable, but not asked: {listed(surplus) or 'none'}. "
            "The model has been changed: load it again"
        )


def adapted_layers(base: torch.nn.Module) -> dict[str, str]:
    """The site path of every LoRA layer, by the layer's own path."""
    return {
        # Wrappers of several parameters of one module are nested, each the next one's base_layer
        path: f"{path.replace('.base_layer', '')}.{layer.parameter_name}"
        if isinstance(layer, ParamWrapper)
        else path
        for path, layer in base.named_modules()
        if isinstance(layer, LoraLayer)
    }


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices, enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield
