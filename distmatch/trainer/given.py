"""What users hand to the trainer, checked before anything is made of it."""

from collections.abc import Mapping, Sized
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch.errors import ConfigError, DataError
from distmatch.files import check_folder
from distmatch.models.loading import load_model
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


def check_texts(args: DistributionConfig, *, has_texts: bool, has_base: bool) -> None:
    """Refuse retention without texts, or without a base to stay near.

    Raises:
        ConfigError: Names what is missing.
    """
    if has_texts and not has_base:
        raise ConfigError(f"retention_dataset {NEEDS_BASE}")
    if args.retention_weight and not has_texts:
        raise ConfigError("retention_weight needs a retention_dataset of ordinary texts")
