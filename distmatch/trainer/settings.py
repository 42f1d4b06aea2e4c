"""What a run is told, and the checks that need no model: loss and targets."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import TrainingArguments

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import ConfigError, unknown_name
from distmatch.losses.divergences import DIVERGENCES, Divergence, wasserstein1
from distmatch.trainer.refused_settings import check_dealing, check_loggers, check_settings


@dataclass
class DistributionConfig(TrainingArguments):
    """`transformers.TrainingArguments` and what this loss needs beside them.

    Some defaults differ: learning rate 1e-3, nothing reported, a log line every 10 steps, losses
    that aren't finite are not hidden, and of the library's metrics as `metric_for_best_model` the
    lowest is the best, but for the shares (`within_0.10`). Without a CUDA device `use_cpu`
    is set: `bf16` then means the CPU, and processes of torchrun's train together.
    """

    learning_rate: float = 1e-3
    logging_steps: float = 10
    report_to: str | list[str] | None = "none"
    per_device_eval_batch_size: int = 32
    remove_unused_columns: bool = False
    dataloader_pin_memory: bool = False
    ddp_find_unused_parameters: bool | None = False
    logging_nan_inf_filter: bool = False
    loss: str | Divergence = "forward_kl"
    """A name in `DIVERGENCES`, or a function of log-probabilities and target."""
    beta: float | None = None
    """Weight of the target in the mixture of `jensen_shannon` and `skew_kl`; None: theirs."""
    warmup_steps_forward_kl: int = 0
    """Train on forward KL for so many steps first: other losses have almost no gradient while the
    words are improbable."""
    target_floor: float = 0.0
    """Least target probability of any outcome, other included, for losses that are infinite where
    the target is 0."""
    retention_weight: float = 0.0
    """Weight of KL(base || adapted) per token of `retention_dataset`."""
    retention_per_step: int | None = None
    """How many of its texts accompany a step; None: one an example."""
    retention_tokens: int = 256
    """Where its texts are cut."""
    refresh_steps: int | None = None
    """Call `refresh` after every so many steps; None: never."""

    def __post_init__(self) -> None:
        """Check what the base class can't know.

        Raises:
            ConfigError: A value out of its range, an unknown loss, or a setting of
                `TrainingArguments` that would do nothing here or something else.
            MissingExtraError: A logger that isn't installed.
        """
        best = self.metric_for_best_model
        if best is not None and self.greater_is_better is None:
            if best.endswith("slope"):
                raise ConfigError(
                    "the best slope is 1, neither the highest nor the lowest: choose by control_tvd"
                )
            self.greater_is_better = "within_" in best
        self.use_cpu = self.use_cpu or not torch.cuda.is_available()
        check_settings(self)
        check_loggers(self.report_to)
        super().__post_init__()
        check_dealing(self)
        for name in ("warmup_steps_forward_kl", "target_floor", "retention_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("refresh_steps", "retention_per_step"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} is {value}, expected 1 or more, or None")
        if self.retention_tokens < 2:
            raise ConfigError(f"retention_tokens is {self.retention_tokens}, expected 2 or more")
        divergence(self)


def divergence(args: DistributionConfig) -> Divergence:
    """The loss the settings name.

    Raises:
        ConfigError: An unknown name, or a `beta` for a loss without one or outside 0 to 1.
    """
    if not isinstance(args.loss, str):
        if args.beta is not None:
            raise ConfigError(
                "beta goes with a loss by name: give functools.partial(loss, beta=...)"
            )
        return args.loss
    if args.loss not in DIVERGENCES:
        raise ConfigError(unknown_name("loss", args.loss, DIVERGENCES))
    if args.beta is None:
        return DIVERGENCES[args.loss]
    if args.loss not in ("jensen_shannon", "skew_kl"):
        raise ConfigError(f"beta is for jensen_shannon and skew_kl; {args.loss} has none")
    if not 0 <= args.beta <= 1:
        raise ConfigError(f"beta is {args.beta}, expected 0 to 1")
    if args.loss == "skew_kl" and args.beta == 1:
        raise ConfigError("skew_kl with beta 1 compares the target with itself: lower beta")
    loss: Callable[..., Tensor] = DIVERGENCES[args.loss]
    return partial(loss, beta=args.beta)


def with_named_loss(args: DistributionConfig) -> DistributionConfig:
    """The settings as they can be saved and logged, which takes a name for the loss."""
    if isinstance(args.loss, str):
        return args
    named = copy.copy(args)
    named.loss = getattr(args.loss, "__name__", type(args.loss).__name__)
    return named


def check_targets(args: DistributionConfig, examples: Sequence[Example]) -> None:
    """Refuse targets for which the loss is infinite or undefined.

    Raises:
        ConfigError: The loss of a row isn't finite even for a model that finds all outcomes equally
            probable, as of reverse KL where a word or other is to have probability 0, or of
            Wasserstein where no word is to have any; or a floor too high for the number of words.
    """
    loss, floor = divergence(args), args.target_floor
    for row, example in enumerate(examples):
        target = example.target
        num_outcomes = len(target.words) + 1
        if floor * num_outcomes >= 1:
            raise ConfigError(
                f"row {row}: target_floor {floor} is too high for {num_outcomes} "
                f"outcomes: give less than {1 / num_outcomes:g}"
            )
        if loss is wasserstein1 and not any(target.probs):
            raise ConfigError(
                f"row {row}: wasserstein1 compares the words alone, and none is to have any "
                "probability: leave the row out"
            )
    if wrong := _infinite_for_a_uniform_model(loss, floor, examples):
        row = min(wrong)
        raise ConfigError(f"row {row}: {_why_infinite(args, wrong[row], examples[row].target)}")


def _why_infinite(args: DistributionConfig, value: float, target: WordDistribution) -> str:
    name = args.loss if isinstance(args.loss, str) else getattr(args.loss, "__name__", "the loss")
    zero = "a word" if 0.0 in target.probs else "other" if target.other_prob == 0 else ""
    where = f" where the target is 0, and here it is for {zero}" if zero else ""
    return (
        f"{name} is {'infinite' if value > 0 else value}{where}: give other some "
        'probability (or "free"), or set target_floor, say to 1e-3'
    )


def floored(
    target: Float[Tensor, "batch support"], is_outcome: Bool[Tensor, "batch support"], floor: float
) -> Float[Tensor, "batch support"]:
    """The target with at least so much on every outcome, still summing to 1."""
    if floor == 0:
        return target
    count = is_outcome.sum(-1, keepdim=True)
    return target * (1 - count * floor) + floor * is_outcome


def _infinite_for_a_uniform_model(
    loss: Divergence, floor: float, examples: Sequence[Example]
) -> dict[int, float]:
    """The losses that aren't finite, by row, where all outcomes are equally probable."""
    rows_of: dict[int, list[int]] = {}
    for row, example in enumerate(examples):
        rows_of.setdefault(len(example.target.words), []).append(row)
    wrong: dict[int, float] = {}
    for count, rows in rows_of.items():
        targets = [examples[row].target for row in rows]
        # What "at_most" asks for is known only once the base has been asked; it leaves a rest.
        others = [0.5 if t.other == "at_most" else t.other_prob for t in targets]
        rows_of_probs = [[*t.probs, o] for t, o in zip(targets, others, strict=True)]
        target = torch.tensor(rows_of_probs, dtype=torch.float32)
        is_outcome = torch.ones_like(target, dtype=torch.bool)
        is_outcome[:, count] = torch.tensor([t.other != "free" for t in targets])
        log_probs = (is_outcome.float() / is_outcome.sum(-1, keepdim=True)).log()
        losses = loss(log_probs, floored(target, is_outcome, floor)).tolist()
        wrong |= {r: v for r, v in zip(rows, losses, strict=True) if not math.isfinite(v)}
    return wrong
