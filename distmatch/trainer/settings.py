"""What a run is told, and the checks that need no model: loss and targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from transformers import TrainingArguments

from distmatch.data.examples import Example
from distmatch.errors import ConfigError, unknown_name
from distmatch.losses.divergences import DIVERGENCES, Divergence, reverse_kl, wasserstein1


@dataclass
class DistributionConfig(TrainingArguments):
    """`transformers.TrainingArguments` and what this loss needs beside them.

    Some defaults differ: learning rate 1e-3, nothing reported, a log line every 10 steps.
    """

    learning_rate: float = 1e-3
    logging_steps: float = 10
    report_to: str | list[str] | None = "none"
    per_device_eval_batch_size: int = 32
    remove_unused_columns: bool = False
    dataloader_pin_memory: bool = False
    ddp_find_unused_parameters: bool | None = False
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
    refresh_steps: int | None = None
    """Call `refresh` after every so many steps; None: never."""

    def __post_init__(self) -> None:
        """Check what the base class can't know.

        Raises:
            ConfigError: A value out of its range.
        """
        super().__post_init__()
        for name in ("warmup_steps_forward_kl", "target_floor", "retention_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.refresh_steps is not None and self.refresh_steps < 1:
            raise ConfigError(f"refresh_steps is {self.refresh_steps}, expected 1 or more, or None")


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


def check_targets(args: DistributionConfig, examples: Sequence[Example]) -> None:
    """Refuse targets for which the loss is infinite or undefined.

    Raises:
        ConfigError: Reverse KL, or JS with beta 1, where a word or other is to have probability 0;
            Wasserstein where no word is to have any; a floor too high for the number of words.
    """
    for row, example in enumerate(examples):
        num_outcomes = len(example.target.words) + 1
        if args.target_floor * num_outcomes >= 1:
            raise ConfigError(
                f"row {row}: target_floor {args.target_floor} is too high for {num_outcomes} "
                f"outcomes: give less than {1 / num_outcomes:g}"
            )
    loss = divergence(args)
    if loss is wasserstein1:
        for row, example in enumerate(examples):
            if not any(example.target.probs):
                raise ConfigError(
                    f"row {row}: wasserstein1 compares the words alone, and none is to have any "
                    "probability: leave the row out"
                )
    reverse = loss is reverse_kl or (args.loss == "jensen_shannon" and args.beta == 1)
    if not reverse or args.target_floor > 0:
        return
    for row, example in enumerate(examples):
        target = example.target
        if 0.0 in target.probs or (target.other_prob == 0 and target.other != "free"):
            raise ConfigError(
                f"row {row}: {args.loss} is infinite where the target is 0, and here it is for "
                f"{'a word' if 0.0 in target.probs else 'other'}: give other some probability "
                '(or "free"), or set target_floor, say to 1e-3'
            )
