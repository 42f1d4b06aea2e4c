"""What users hand to the trainer, checked before anything is made of it."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any

from peft import PeftConfig
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.training_args import ParallelMode

from distmatch.data.examples import Example
from distmatch.errors import ConfigError, DataError
from distmatch.files import check_folder
from distmatch.models.attaching import attach_lora
from distmatch.models.experts import PackedExperts
from distmatch.models.loading import load_model
from distmatch.models.lora import LoraTarget
from distmatch.trainer.settings import DistributionConfig

NEEDS_BASE = "needs the base model beside the trained one: give a peft_config"


def given_model(
    model: nn.Module | str, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """The model and its tokenizer; by its name it is loaded, and so is its tokenizer.

    Raises:
        ConfigError: A model without a tokenizer.
        LoadError: Nothing usable under that name.
    """
    if isinstance(model, str):
        loaded, own = load_model(model)
        return loaded, own if tokenizer is None else tokenizer
    if tokenizer is None:
        raise ConfigError("processing_class is missing: give the model's tokenizer")
    return model, tokenizer


def given_adapter(
    model: nn.Module, peft_config: LoraTarget | PeftConfig | None, seed: int
) -> nn.Module:
    """The model with a new adapter, drawn by the seed that shuffles the data; None: as it is.

    Raises:
        TargetingError: Of weights the model doesn't have.
    """
    if peft_config is None:
        return model
    return attach_lora(model, peft_config, seed=seed)  # type: ignore[arg-type]


def check_given(args: Any, eval_dataset: Any, refresh: Any) -> None:
    """Refuse settings of another kind or that don't fit, and sets without examples.

    Raises:
        ConfigError: No `DistributionConfig`, a folder that can't be written to, an evaluation
            without a set, or only one of `refresh` and `refresh_steps`.
        DataError: A set to evaluate on is empty.
    """
    if not isinstance(args, DistributionConfig):
        kind = "None" if args is None else f"a {type(args).__name__}"
        raise ConfigError(
            f"args is {kind}: give a DistributionConfig, which takes all that TrainingArguments "
            "does and says what the loss is"
        )
    check_folder(str(args.output_dir), "output_dir")
    if (refresh is None) != (args.refresh_steps is None):
        raise ConfigError("refresh and refresh_steps go together: give both or neither")
    if eval_dataset is None:
        if args.eval_strategy != "no" or args.eval_on_start:
            raise ConfigError(
                f'eval_strategy is "{args.eval_strategy}", and there is no eval_dataset: give '
                "one, or leave eval_strategy out"
            )
        return
    named = eval_dataset if isinstance(eval_dataset, Mapping) else {"eval_dataset": eval_dataset}
    for name, rows in named.items():
        if isinstance(rows, Sized) and not len(rows):
            raise DataError(f"{name} is empty: give examples to evaluate on, or leave it out")


def check_devices(args: DistributionConfig, model: nn.Module) -> None:
    """Refuse several GPUs in one process, unless one model is shared out over them.

    Raises:
        ConfigError: They would hold a copy each.
    """
    shares = getattr(model, "hf_device_map", None) or {}
    if args.n_gpu > 1 and len(set(shares.values())) < 2:
        raise ConfigError(f"{args.n_gpu} GPUs in one process: start one each, with torchrun")


def check_alone(args: DistributionConfig) -> None:
    """Refuse several GPUs, and processes that train together, where many adapters are trained.

    Raises:
        ConfigError: Says what to start instead.
    """
    if args.n_gpu > 1 or args.world_size > 1:
        raise ConfigError(
            "each adapter is trained on one GPU: start a process for each, with "
            "CUDA_VISIBLE_DEVICES=0, CUDA_VISIBLE_DEVICES=1 and so on; they share the folder"
        )


def check_texts(args: DistributionConfig, *, has_texts: bool, has_base: bool) -> None:
    """Refuse retention without texts, or without a base to stay near.

    Raises:
        ConfigError: Names what is missing.
    """
    if has_texts and not has_base:
        raise ConfigError(f"retention_dataset {NEEDS_BASE}")
    if args.retention_weight and not has_texts:
        raise ConfigError("retention_weight needs a retention_dataset of ordinary texts")


def check_trainable(model: nn.Module) -> None:
    """Refuse a model of which nothing learns.

    Raises:
        ConfigError: None of its weights requires a gradient.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            "no weight is trainable: give a peft_config, or to go on with an adapter, "
            "load_adapter(model, path, trainable=True)"
        )


def check_sharding(
    args: DistributionConfig, model: nn.Module, examples: Sequence[Example], *, has_texts: bool
) -> None:
    """Refuse FSDP where weights wouldn't be sharded, or not to the same result.

    Raises:
        ConfigError: Names what stands in the way, and the remedy.
    """
    if not args.fsdp:
        return
    if args.device.type == "cpu":
        raise ConfigError(
            "fsdp is set, and accelerate shards nothing in processes without a GPU, each of which "
            "would hold the whole model: leave it out"
        )
    if args.parallel_mode != ParallelMode.DISTRIBUTED:
        raise ConfigError("fsdp shards over processes: start them with torchrun, or leave it out")
    if int(args.fsdp_config.get("version", 2)) != 2:  # type: ignore[union-attr]
        raise ConfigError('fsdp_config asks for version 1: give {"version": 2}')
    packed = [name for name, weight in model.named_parameters() if not weight.is_floating_point()]
    packed += [name for name, module in model.named_modules() if isinstance(module, PackedExperts)]
    if packed:
        raise ConfigError(
            f"{packed[0]} is packed, and fsdp can't shard packed weights: leave fsdp out (every "
            "process then holds the packed model), or load it unpacked"
        )
    keeps = any(example.target.other in ("preserve", "at_most") for example in examples)
    if has_texts or keeps:
        what = "a retention_dataset" if has_texts else 'other = "preserve"'
        raise ConfigError(
            f"{what} takes forwards of the base beside the model's, which processes that share "
            "their weights would have to take in step: leave it or fsdp out"
        )
