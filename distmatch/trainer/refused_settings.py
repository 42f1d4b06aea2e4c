"""Settings of `transformers.TrainingArguments` that would do nothing here, or something else."""

from dataclasses import MISSING, Field, fields
from typing import Any

from transformers import TrainingArguments
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from distmatch.errors import ConfigError, MissingExtraError, unknown_name

_OF_THEIR_EVALUATION = "belongs to an evaluation loop that is not this trainer's"
_OF_THEIR_COLLATOR = "belongs to batches of token ids, and rows here are examples"
_SHARDING = (
    "splits weights that this trainer reads whole: start a process a GPU with torchrun, or share "
    'the model out with load_model(device="auto")'
)
_COMPILED = "would compile anew for every batch, as packed batches differ in shape"
REFUSED = {
    "label_smoothing_factor": "is of cross-entropy: target_floor smooths targets here",
    "label_names": _OF_THEIR_COLLATOR,
    "length_column_name": _OF_THEIR_COLLATOR,
    "remove_unused_columns": _OF_THEIR_COLLATOR,
    "include_num_input_tokens_seen": _OF_THEIR_COLLATOR,
    "average_tokens_across_devices": "can't be turned off: every example of a step counts the same",
    "neftune_noise_alpha": "adds noise in training mode, and the model stays in evaluation mode",
    "use_cache": "has no use in training",
    "use_liger_kernel": "replaces the loss by cross-entropy",
    "liger_kernel_config": "replaces the loss by cross-entropy",
    "torch_compile": _COMPILED,
    "torch_compile_backend": _COMPILED,
    "torch_compile_mode": _COMPILED,
    "prediction_loss_only": _OF_THEIR_EVALUATION,
    "eval_do_concat_batches": _OF_THEIR_EVALUATION,
    "eval_use_gather_object": _OF_THEIR_EVALUATION,
    "eval_accumulation_steps": _OF_THEIR_EVALUATION,
    "include_for_metrics": _OF_THEIR_EVALUATION,
    "batch_eval_metrics": _OF_THEIR_EVALUATION,
    "bf16_full_eval": "casts nothing here: load the model in that dtype",
    "fp16_full_eval": "casts nothing here: load the model in that dtype",
    "deepspeed": _SHARDING,
    "parallelism_config": _SHARDING,
    "resume_from_checkpoint": "is of scripts: give it to train(resume_from_checkpoint=True)",
}
"""Why each may only have its default."""
_OFF: tuple[object, ...] = (None, False, 0, "", "no", [], {})
_PACKAGES = {
    "tensorboard": '"distmatch[tensorboard]"',
    "azure_ml": "azureml-mlflow",
    "flyte": "flytekit",
}
"""Of loggers that are called otherwise."""


def check_settings(args: TrainingArguments) -> None:
    """Refuse what would silently do nothing or something else, as it was given.

    Raises:
        ConfigError: Names the setting, its value and the remedy.
    """
    for field in (field for field in fields(args) if field.name in REFUSED):
        value, default = getattr(args, field.name), _default(field)
        is_off = value in _OFF and default in _OFF
        if value != default and not is_off:
            raise ConfigError(
                f"{field.name} is {value!r}, which {REFUSED[field.name]}; leave it out"
            )
    if args.fsdp_config and not args.fsdp:
        raise ConfigError(
            f"fsdp_config is {args.fsdp_config!r}, and fsdp is off: set fsdp=True, or leave it out"
        )
    optim = str(getattr(args.optim, "value", args.optim))
    if args.optim_args and optim.startswith("adamw_torch"):
        raise ConfigError(
            f'optim_args is "{args.optim_args}", which {optim} doesn\'t read: set adam_beta1, '
            "adam_beta2, adam_epsilon or weight_decay"
        )
    if args.optim_target_modules and not any(n in optim for n in ("galore", "apollo")):
        raise ConfigError(
            f"optim_target_modules is {args.optim_target_modules}, which {optim} doesn't "
            "read: peft_config says which weights learn"
        )
    if args.train_sampling_strategy == "group_by_length":
        raise ConfigError(
            'train_sampling_strategy is "group_by_length", and examples here are packed, whatever '
            'their length: give "random" or "sequential"'
        )


def check_dealing(args: TrainingArguments) -> None:
    """Refuse other ways to deal examples to processes, once they have been read.

    Raises:
        ConfigError: Names the one that is asked for.
    """
    for name in ("split_batches", "dispatch_batches"):
        if getattr(args.accelerator_config, name, None):
            raise ConfigError(
                f"accelerator_config has {name}, and every process draws its own examples here: "
                "leave it out"
            )


def check_loggers(names: str | list[str] | None) -> None:
    """Refuse loggers whose package isn't there, before anything is loaded.

    Args:
        names: What `report_to` says.

    Raises:
        ConfigError: An unknown one.
        MissingExtraError: One that isn't installed; with what to install.
    """
    there = get_available_reporting_integrations()
    for name in [names] if isinstance(names, str) else names or []:
        if name in ("none", "all") or name in there:
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            raise ConfigError(unknown_name("report_to", name, INTEGRATION_TO_CALLBACK))
        package = _PACKAGES.get(name, name)
        raise MissingExtraError(
            f'report_to is "{name}", which is not installed: pip install {package}, or leave '
            "report_to out"
        )


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default
