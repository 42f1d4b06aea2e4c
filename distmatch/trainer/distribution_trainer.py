"""A `transformers.Trainer` whose loss is a divergence between word distributions.

Everything not overridden here is theirs: optimisers, schedules, accumulation, distributed training,
checkpoints, loggers. The data loader deals in row numbers; batches are made when they are used, so
that a `refresh` of the examples takes effect at once and a resumed run sees the same ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.trainer_callback import ProgressCallback, TrainerCallback
from transformers.utils import logging

from distmatch.data.batching import Batch, make_batch, make_text_batch
from distmatch.data.examples import Example, Prompt, read_jsonl, to_examples, write_jsonl
from distmatch.errors import ConfigError
from distmatch.losses.divergences import forward_kl, total_variation
from distmatch.losses.metrics import Outcomes, slope_ratio
from distmatch.losses.retention import retention_kl
from distmatch.losses.words import (
    WordLogProbs,
    other_shape_kl,
    support_log_probs,
    word_log_probs,
)
from distmatch.models.lora import LoraTarget, attach_lora
from distmatch.scoring import Questions, model_encoder, resolve_at_most, row_logits
from distmatch.trainer.callbacks import SHOWN, ProgressBar, Refresh, RefreshExamples
from distmatch.trainer.settings import (
    DistributionConfig,
    check_output_dir,
    check_targets,
    divergence,
)

logger = logging.get_logger(__name__)

Rows = Sequence[Example | Mapping[str, Any]]

_EXAMPLES_FILE = "examples.jsonl"
_START_STEPS = 20  # by then a loss that starts at all has moved probability to the words
_START_OTHER = 0.9


class DistributionTrainer(Trainer):
    """Fine-tunes a model until its word distributions are those of the examples.

    Args:
        model: A causal language model.
        args: Settings.
        processing_class: The model's tokenizer.
        train_dataset: Examples or records (`prompt`, `words`, `probs`, ...): a list or a
            `datasets.Dataset`.
        eval_dataset: The same, or a dict of several by name.
        peft_config: Which weights learn: `distmatch.lora(...)` or a stock PEFT config. None: all
            that require a gradient.
        retention_dataset: Ordinary texts (strings or messages) on which to stay near the base.
            One accompanies each example of a step; every evaluation reports the divergence on all.
        refresh: Given model and examples, as many new examples, for targets that depend on the
            model. Called every `args.refresh_steps` steps.
        callbacks: As in `transformers.Trainer`.
        optimizers: As in `transformers.Trainer`.

    Raises:
        DataError: Records or texts that can't be used, each with its number.
        ConfigError: An unknown loss, or settings that don't fit the data.
        TargetingError: `peft_config` names weights the model doesn't have.
    """

    args: DistributionConfig
    loss_is_scaled_for_ga = True

    def __init__(  # noqa: PLR0913 (TRL's argument names)
        self,
        model: PreTrainedModel | PeftModel,
        args: DistributionConfig,
        processing_class: PreTrainedTokenizerBase,
        train_dataset: Rows | None = None,
        eval_dataset: Rows | dict[str, Rows] | None = None,
        peft_config: LoraTarget | PeftConfig | None = None,
        retention_dataset: Sequence[Prompt] | None = None,
        refresh: Refresh | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
    ) -> None:
        """Check and encode all data, and attach the adapter; nothing runs yet."""
        self.divergence = divergence(args)
        self.encoder = model_encoder(model, processing_class)
        train = to_examples(train_dataset or [])
        check_targets(args, train)
        evals = eval_dataset if isinstance(eval_dataset, dict) else {"": eval_dataset}
        examples = {name: to_examples(rows) for name, rows in evals.items() if rows is not None}
        self.texts = [self.encoder.encode_text(text) for text in retention_dataset or []]
        if args.retention_weight and not self.texts:
            raise ConfigError("retention_weight needs a retention_dataset of ordinary texts")
        if (refresh is None) != (args.refresh_steps is None):
            raise ConfigError("refresh and refresh_steps go together: give both or neither")
        self._refreshes = refresh is not None
        if peft_config is None and not isinstance(model, PeftModel):
            _refuse_what_needs_a_base([train, *examples.values()], bool(self.texts))
        # The seed that shuffles the data draws the adapter too.
        adapted = model if peft_config is None else attach_lora(model, peft_config, seed=args.seed)  # type: ignore[arg-type]
        self.adapted: nn.Module = adapted
        self.use_examples(train)
        self._questions = {
            name: Questions.encode(self.encoder, self._resolved(rows))
            for name, rows in examples.items()
        }
        self._window: list[tuple[Tensor, Tensor]] = []
        super().__init__(
            model=adapted,
            args=args,
            data_collator=_row_numbers,
            train_dataset=list(range(len(train))) if train else None,
            eval_dataset=examples or None,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(ProgressBar())
        if refresh is not None:
            self.add_callback(RefreshExamples(self, refresh))

    # Training ----------------------------------------------------------------------------------

    def train(
        self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Train, or go on from a checkpoint; see `transformers.Trainer.train`.

        Raises:
            ConfigError: The output directory holds another run and this isn't to resume it.
        """
        check_output_dir(self.args.output_dir, resume=bool(resume_from_checkpoint))
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def use_examples(self, examples: Sequence[Example]) -> None:
        """Train on these from the next step on.

        Raises:
            DataError: Examples that can't be encoded.
        """
        self.train_examples = self._resolved(examples)
        self.train_tries = self.encoder.encode_all(self.train_examples)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The micro-batch's share of the mean loss over all examples of the optimiser step.

        With outputs, also `losses`, one an example in nats.
        """
        _train_only_adapters(model)
        rows = inputs["rows"].tolist()
        if num_items_in_batch is None:
            num_items_in_batch = self._get_num_items_in_batch([inputs], self.args.device)
        if rows:
            batch = make_batch([self.train_tries[row] for row in rows], self.encoder)
            losses = self._losses(model, batch.to(self.args.device))
        else:
            # Zero, but in the graph: every process must run a backward.
            losses = sum(p.sum() for p in model.parameters() if p.requires_grad)[None] * 0.0  # type: ignore[index]
        # Distributed backwards average over processes, each of which divided by the whole count.
        loss = losses.sum() / num_items_in_batch * self.accelerator.num_processes
        if self.args.retention_weight and rows:
            per_token = self._retention(model, [self.texts[r % len(self.texts)] for r in rows])
            share = per_token.sum() / self._num_step_tokens * self.accelerator.num_processes
            loss = loss + self.args.retention_weight * share
        return (loss, {"losses": losses}) if return_outputs else loss

    def _losses(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = row_logits(model, batch)
        scores = word_log_probs(logits, batch)
        warm = self.state.global_step >= self.args.warmup_steps_forward_kl
        loss = self.divergence if warm else forward_kl
        target = _floored(batch, self.args.target_floor)
        losses = loss(support_log_probs(scores, batch.is_free), target)
        if batch.preserve.any():
            with torch.no_grad(), self._base() as base:
                base_logits = row_logits(base, batch)
            losses = losses + batch.preserve * other_shape_kl(logits, base_logits, batch)
        if model.training:
            self._observe(scores, batch)
        return losses

    def _retention(self, model: nn.Module, texts: Sequence[tuple[int, ...]]) -> Tensor:
        batch = make_text_batch(texts).to(self.args.device)
        with torch.no_grad(), self._base() as base:
            base_logits = row_logits(base, batch)
        return retention_kl(row_logits(model, batch), base_logits)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        """Examples of the optimiser step over all processes, and beside them retention tokens."""
        rows = [row for sample in batch_samples for row in sample["rows"].tolist()]
        tokens = (
            sum(len(self.texts[row % len(self.texts)]) - 1 for row in rows) if self.texts else 0
        )
        counts = torch.tensor([[len(rows), tokens]], device=device)
        if self.args.world_size > 1:
            counts = self.accelerator.gather(counts)
        num_examples, self._num_step_tokens = counts.sum(0).clamp(min=1)
        return num_examples

    # The base: the same weights with their adapter off ------------------------------------------

    @contextmanager
    def _base(self) -> Iterator[nn.Module]:
        with self.adapted.disable_adapter():  # type: ignore[operator]
            yield self.adapted

    def _resolved(self, examples: Sequence[Example]) -> list[Example]:
        if not any(example.target.other == "at_most" for example in examples):
            return list(examples)
        with self._base() as base:
            return resolve_at_most(base, self.encoder, examples)

    # Measuring ---------------------------------------------------------------------------------

    def evaluate(  # type: ignore[override]
        self,
        eval_dataset: Rows | dict[str, Rows] | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Every metric of the library on the evaluation examples, logged and returned.

        Args:
            eval_dataset: Instead of the one given at the start.
            ignore_keys: Unused.
            metric_key_prefix: Comes before each name, as in `eval_tvd`.
        """
        questions = self._questions
        if eval_dataset is not None:
            given = eval_dataset if isinstance(eval_dataset, dict) else {"": eval_dataset}
            questions = {
                name: Questions.encode(self.encoder, self._resolved(to_examples(rows)))
                for name, rows in given.items()
            }
        if not questions:
            raise ConfigError("evaluate() needs an eval_dataset")
        metrics = {}
        for name, asked in questions.items():
            prefix = f"{metric_key_prefix}_{name}" if name else metric_key_prefix
            metrics.update(
                {f"{prefix}_{key}": value for key, value in self._measure(asked).items()}
            )
        if self.texts:
            with torch.no_grad():
                per_token = self._retention(self.adapted.eval(), self.texts)
            metrics[f"{metric_key_prefix}_retention_kl"] = float(per_token.mean())
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _measure(self, questions: Questions) -> dict[str, float]:
        bar = None if self.args.disable_tqdm else "evaluating"
        outcomes, ratios = questions.score(
            self.adapted,
            self.encoder,
            batch_size=self.args.per_device_eval_batch_size * 4,
            progress=bar,
        )
        log_probs = support_log_probs(outcomes.scores, outcomes.is_free)
        loss = float(self.divergence(log_probs, outcomes.target).mean())
        return {"loss": loss, **{name: ratio.value() for name, ratio in ratios.items()}}

    def _observe(self, scores: WordLogProbs, batch: Batch) -> None:
        """Keep the sums of what the next log line is to tell of the training examples."""
        detached = WordLogProbs(scores.words.detach(), scores.other.detach())
        outcomes = Outcomes(detached, batch.target, batch.is_word, batch.is_free)
        slope = slope_ratio(outcomes)
        tvd = total_variation(support_log_probs(detached, batch.is_free), batch.target)
        sums = [tvd.sum(), slope.numerator.sum(), detached.other.exp().sum()]
        counts = [len(tvd), slope.denominator.sum(), len(tvd)]
        self._window.append((torch.stack(sums), sums[0].new_tensor(counts)))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As theirs; a line with a loss also has TVD, slope and other of the examples since."""
        if "loss" in logs and self._window:
            numerators, denominators = (
                torch.stack(part).sum(0) for part in zip(*self._window, strict=True)
            )
            logs.update(zip(SHOWN, (numerators / denominators).tolist(), strict=True))
            self._window.clear()
            self._warn_unless_started(logs["other"])
        super().log(logs, start_time)

    def _warn_unless_started(self, other: float) -> None:
        first = _START_STEPS + self.args.warmup_steps_forward_kl
        since = self.state.global_step - self.args.logging_steps
        if other > _START_OTHER and since < first <= self.state.global_step:
            remedy = (
                "raise learning_rate"
                if self.divergence is forward_kl
                else f"{self.args.loss} has almost no gradient there: set warmup_steps_forward_kl"
            )
            logger.warning(
                f"not started: after {self.state.global_step} steps the words together have "
                f"{1 - other:.2g} of the probability; {remedy}"
            )

    # Checkpoints -------------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any, *args: Any, **kwargs: Any) -> None:
        super()._save_checkpoint(model, trial, *args, **kwargs)
        if self._refreshes and self.args.should_save:
            folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            write_jsonl(folder / _EXAMPLES_FILE, self.train_examples)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        examples = Path(resume_from_checkpoint) / _EXAMPLES_FILE
        if self._refreshes:
            self.use_examples(read_jsonl(examples))


def _row_numbers(items: list[int]) -> dict[str, Tensor]:
    return {"rows": torch.tensor(items, dtype=torch.long)}


def _floored(batch: Batch, floor: float) -> Tensor:
    """The target with at least so much on every outcome, still summing to 1."""
    if floor == 0:
        return batch.target
    is_outcome = torch.cat([batch.is_word, ~batch.is_free[:, None]], dim=-1)
    count = is_outcome.sum(-1, keepdim=True)
    return batch.target * (1 - count * floor) + floor * is_outcome


def _train_only_adapters(model: nn.Module) -> None:
    """Evaluation mode everywhere but in LoRA's dropout, so that the base's states never change.

    Blocks keep their flag, on which gradient checkpointing depends; it does nothing else.
    """
    was_training = model.training
    model.eval()
    for name, module in model.named_modules():
        if "lora_dropout" in name or isinstance(module, GradientCheckpointingLayer):
            module.training = was_training
    model.training = was_training


def _refuse_what_needs_a_base(datasets: Sequence[Sequence[Example]], has_texts: bool) -> None:
    rules = {example.target.other for rows in datasets for example in rows}
    asked = sorted(str(rule) for rule in rules & {"preserve", "at_most"})
    if asked or has_texts:
        raise ConfigError(
            f"{', '.join(asked) or 'retention_dataset'} needs the base model beside the trained "
            "one: give a peft_config"
        )
