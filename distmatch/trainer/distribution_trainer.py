"""A `transformers.Trainer` whose loss is a divergence between word distributions.

Everything not overridden here is theirs: optimisers, schedules, accumulation, distributed training,
checkpoints, loggers. The data loader deals in row numbers; batches are made when they are used, so
that a `refresh` of the examples takes effect at once and a resumed run sees the same ones.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

from distmatch.data.batching import make_batch
from distmatch.data.examples import Example, Prompt
from distmatch.data.jsonl import read_jsonl, to_examples, write_jsonl
from distmatch.data.trie import AskedTries, TokenIds
from distmatch.errors import ConfigError, DivergedError, unknown_name
from distmatch.files import write_text
from distmatch.losses.divergences import Divergence, forward_kl
from distmatch.losses.words import support_log_probs, word_log_probs
from distmatch.measuring.metrics import Outcomes, Ratio
from distmatch.measuring.outcomes import outcomes_of
from distmatch.models.adapters import switched_off
from distmatch.models.base_record import check_base_record
from distmatch.models.cast_once import CastOnce
from distmatch.models.head import HeadInput
from distmatch.models.lora import LoraTarget
from distmatch.models.proof import forward_way
from distmatch.scoring import model_encoder, resolve_at_most
from distmatch.trainer import given
from distmatch.trainer.adapter_trainer import AdapterTrainer
from distmatch.trainer.callbacks import LogLines, Refresh, RefreshExamples, ShownTraining
from distmatch.trainer.card import CardMeasures, data_told
from distmatch.trainer.companions import Companions, shape_kl
from distmatch.trainer.micro_batches import (
    RowNumbers,
    filled_up,
    frozen_matrices,
    keep_buffers,
    nothing,
    over_tokens,
    row_numbers,
    train_only_adapters,
)
from distmatch.trainer.output_dir import (
    LOGGED_FILE,
    check_checkpoint,
    checkpoint_to_begin_at,
    logged_before,
)
from distmatch.trainer.running_means import EXCESS, SHOWN, TERMS, RunningMeans, progress
from distmatch.trainer.settings import (
    DistributionConfig,
    check_targets,
    divergence,
    floored,
    with_named_loss,
)
from distmatch.trainer.start_watch import StartWatch

Rows = Sequence[Example | Mapping[str, Any]]

_EXAMPLES_FILE = "examples.jsonl"


class DistributionTrainer(AdapterTrainer):
    """Fine-tunes a model until its word distributions are those of the examples.

    Args:
        model: A causal language model, or the name of one, as for `load_model`.
        args: Settings.
        processing_class: The model's tokenizer; None: that of a model given by its name.
        train_dataset: Examples or records (`prompt`, `words`, `probs`, ...): a list or a
            `datasets.Dataset`.
        eval_dataset: The same, or a dict of several by name.
        peft_config: Which weights learn: `distmatch.lora(...)` or a stock PEFT config. None: all
            that require a gradient.
        retention_dataset: Ordinary texts (strings or messages) on which to stay near the base.
            One accompanies each example of a step, the next ones in the next epoch, or
            `args.retention_per_step` each step; every evaluation reports the divergence on all.
        refresh: Given model and examples, as many new examples, for targets that depend on the
            model. Called every `args.refresh_steps` steps.
        callbacks: As in `transformers.Trainer`.
        optimizers: As in `transformers.Trainer`.

    Raises:
        DataError: Records or texts that can't be used, each with its number.
        ConfigError: An unknown loss, or settings that don't fit the data.
        TargetingError: `peft_config` names weights the model doesn't have.
        LoadError: The model isn't a causal one.
    """

    args: DistributionConfig
    adapted: nn.Module
    loss_is_scaled_for_ga = True

    def __init__(  # noqa: PLR0913 (TRL's argument names)
        self,
        model: PreTrainedModel | PeftModel | str,
        args: DistributionConfig,
        processing_class: PreTrainedTokenizerBase | None = None,
        train_dataset: Rows | None = None,
        eval_dataset: Rows | dict[str, Rows] | None = None,
        peft_config: LoraTarget | PeftConfig | None = None,
        retention_dataset: Sequence[Prompt] | None = None,
        refresh: Refresh | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
    ) -> None:
        """Check and encode all data, then attach the adapter; nothing is trained yet."""
        given.check_given(args, eval_dataset, refresh)
        self.adapted, processing_class = given.given_model(model, processing_class)
        given.check_devices(args, self.adapted)
        self._given, self.divergence = args, divergence(args)
        self._has_base = peft_config is not None or isinstance(self.adapted, PeftModel)
        self._refreshes = refresh is not None
        forward_way(self.adapted)  # found before a step is timed or counted
        self.encoder = model_encoder(self.adapted, processing_class)
        self.texts = self.encoder.encode_texts(retention_dataset or [], args.retention_tokens)
        given.check_texts(args, has_texts=bool(self.texts), has_base=self._has_base)
        self.use_examples(to_examples([] if train_dataset is None else train_dataset))
        given.check_sharding(args, self.adapted, self.train_examples, has_texts=bool(self.texts))
        self._companions = Companions(self.texts, len(self.train_tries), args)
        self._asked = self._encoded({} if eval_dataset is None else eval_dataset)
        self.adapted = given.given_adapter(self.adapted, peft_config, args.seed)
        keep_buffers(self.adapted, args.world_size)
        args = with_named_loss(args)
        self._observed = RunningMeans(args.device)
        self._logged: Path | None = None
        self._matrices: CastOnce | None = None  # those of a run of `train`
        self._start = StartWatch(args, is_forward_kl=self.divergence is forward_kl)
        super().__init__(
            model=self.adapted,
            args=args,
            data_collator=row_numbers,
            train_dataset=RowNumbers(len(self.train_tries)) if self.train_tries else None,
            eval_dataset=self._asked or None,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        self.add_callback(LogLines(self))
        if self.pop_callback(DEFAULT_PROGRESS_CALLBACK) is not None:
            self.add_callback(ShownTraining())
        if refresh is not None:
            self.add_callback(RefreshExamples(self, refresh))

    # Training ----------------------------------------------------------------------------------

    def train(
        self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Train, or go on from a checkpoint; otherwise `transformers.Trainer.train`.

        Args:
            resume_from_checkpoint: A checkpoint's directory; or True: the newest whole one in the
                output directory, or the beginning where there is none yet.
            *args: As theirs.
            **kwargs: As theirs.

        Raises:
            ConfigError: The output directory holds another run and this isn't to resume it; there
                is nothing to train.
            DivergedError: The loss stopped being finite.
        """
        given.check_trainable(self.adapted)
        begins_at = checkpoint_to_begin_at(str(self.args.output_dir), resume_from_checkpoint)
        self.measures = CardMeasures()  # those of what it was before are none of what it becomes
        self._matrices = frozen_matrices(self.adapted, self.accelerator)
        try:
            return super().train(begins_at, *args, **kwargs)
        finally:  # what is measured from now on is measured in full precision
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            vars(self.adapted).pop("_is_accelerate_prepared", None)  # or it would train in full too
            self._matrices = None

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """As theirs; within `train` with frozen matrices in the precision of mixed training."""
        with self._matrices.installed() if self._matrices else nullcontext():
            return super().training_step(*args, **kwargs)

    def use_examples(self, examples: Sequence[Example]) -> None:
        """Train on these from the next step on.

        Raises:
            DataError: Examples that can't be encoded.
            ConfigError: Targets for which the loss is infinite.
        """
        check_targets(self._given, examples)
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
        train_only_adapters(model)
        rows = inputs["rows"].tolist()
        if num_items_in_batch is None:
            num_items_in_batch = self._get_num_items_in_batch([inputs], self.args.device)
        texts = self._companions.beside(rows, self.state)
        losses, states = self._losses(model, rows, texts)
        # Distributed backwards average over processes, each of which divided by the whole count.
        loss = losses.sum() / num_items_in_batch
        if texts:
            loss = loss + self.args.retention_weight * self._retention(model, texts, states)
        loss = loss * self.accelerator.num_processes
        return (loss, {"losses": losses}) if return_outputs else loss

    def _losses(
        self, model: nn.Module, rows: Sequence[int], texts: Sequence[TokenIds]
    ) -> tuple[Tensor, HeadInput | None]:
        """One an example, and the texts' states if one forward gave both."""
        if not rows:
            return nothing(model, make_batch(self.train_tries[:1], self.encoder)), None
        tries = [self.train_tries[row] for row in rows]
        batch, logits, states = self._companions.forward(model, tries, self.encoder, texts)
        scores = word_log_probs(logits, batch)
        outcomes = Outcomes(scores, batch.target, batch.is_word, batch.is_free)
        is_cold = self.state.global_step < self.args.warmup_steps_forward_kl
        loss = forward_kl if is_cold else self.divergence
        losses = over_tokens(self._divergences(loss, outcomes), tries)
        self._observed.add(divergence=Ratio(losses, torch.ones_like(losses)), **progress(outcomes))
        if batch.preserve.any():
            shape = shape_kl(self.adapted, make_batch(tries, self.encoder), logits)
            self._observed.add(preserve_kl=Ratio(shape, torch.ones_like(shape)))
            losses = losses + shape
        return losses, states

    def _divergences(self, loss: Divergence, outcomes: Outcomes) -> Tensor:
        is_outcome = torch.cat([outcomes.is_word, ~outcomes.is_free[:, None]], dim=-1)
        target = floored(outcomes.target, is_outcome, self.args.target_floor)
        return loss(support_log_probs(outcomes.scores, outcomes.is_free), target)

    def _retention(
        self, model: nn.Module, texts: Sequence[TokenIds], states: HeadInput | None
    ) -> Tensor:
        """These texts' share of the mean over all retention tokens of the optimiser step."""
        per_token = self._companions.kl(model, texts, states)
        self._observed.add(retention_kl=Ratio(per_token, torch.ones_like(per_token)))
        return per_token.sum() / self._companions.num_tokens

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        """Examples of the optimiser step over all processes."""
        rows = [row for sample in batch_samples for row in sample["rows"].tolist()]
        return torch.tensor(max(self._companions.begin_step(rows, self.state), 1), device=device)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """As theirs, but of several processes none gets an example that another has as well."""
        return filled_up(super().get_train_dataloader(), self.args.world_size)

    # The base: the same weights with their adapter off ------------------------------------------

    def _resolved(self, examples: Sequence[Example]) -> list[Example]:
        rules = {example.target.other for example in examples} & {"preserve", "at_most"}
        if rules and not self._has_base:
            raise ConfigError(f"other = {sorted(map(str, rules))} {given.NEEDS_BASE}")
        if "at_most" not in rules:
            return list(examples)
        with switched_off(self.adapted):
            return resolve_at_most(self.adapted, self.encoder, examples)

    def _encoded(self, datasets: Rows | dict[str, Rows]) -> dict[str, AskedTries]:
        named = datasets if isinstance(datasets, dict) else {"": datasets}
        return {
            name: self.encoder.encode_asked(self._resolved(to_examples(rows)))
            for name, rows in named.items()
        }

    # Measuring ---------------------------------------------------------------------------------

    def evaluate(  # type: ignore[override]
        self,
        eval_dataset: Rows | dict[str, Rows] | str | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Every metric of the library on the evaluation examples, logged and returned.

        Args:
            eval_dataset: Instead of those given at the start; or the name of one of them.
            ignore_keys: Unused.
            metric_key_prefix: Comes before each name, as in `eval_tvd`.
        """
        metrics: dict[str, float] = {}
        for name, asked in self._to_ask(eval_dataset).items():
            prefix = f"{metric_key_prefix}_{name}" if name else metric_key_prefix
            metrics |= {f"{prefix}_{key}": value for key, value in self._measured(asked).items()}
        if self.texts:
            metrics[f"{metric_key_prefix}_retention_kl"] = self._companions.base.mean_text_kl(
                self.adapted,
                self.texts,
                batch_size=self.args.per_device_eval_batch_size,
                shared=True,
            )
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _to_ask(self, dataset: Rows | dict[str, Rows] | str | None) -> dict[str, AskedTries]:
        if isinstance(dataset, str):
            if dataset not in self._asked:
                raise ConfigError(unknown_name("eval_dataset", dataset, self._asked))
            return {dataset: self._asked[dataset]}
        asked = self._asked if dataset is None else self._encoded(dataset)
        if not asked:
            raise ConfigError("evaluate() needs an eval_dataset")
        return asked

    def _measured(self, asked: AskedTries) -> dict[str, float]:
        is_shown = self.is_world_process_zero() and not self.args.disable_tqdm
        outcomes, ratios = outcomes_of(
            self.adapted,
            self.encoder,
            asked,
            batch_size=self.args.per_device_eval_batch_size,
            progress="evaluating" if is_shown else None,
            shared=not self.is_fsdp_enabled,  # for which all run the same forwards
        )
        loss = float(self._divergences(self.divergence, outcomes).mean())
        return {"loss": loss, **{name: ratio.value() for name, ratio in ratios.items()}}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As theirs; a line with a loss also has TVD, slope and other of the examples since.

        Where the loss has several terms, each of them too; retention without its weight.
        """
        if "loss" in logs:
            means = self._observed.means(self.accelerator.reduce)
            self._observed = RunningMeans(self.args.device)
            if not math.isfinite(means.get("divergence", 0.0)):
                raise DivergedError(
                    f"{self.args.loss} is {means['divergence']} by step {self.state.global_step}: "
                    "lower learning_rate, or set target_floor if the loss can be infinite"
                )
            if EXCESS in means:
                self._start.see(self.state.global_step, means[EXCESS])
            terms = [name for name in TERMS if name in means]
            shown = (*SHOWN, *(terms if len(terms) > 1 else ()))
            logs.update({name: means[name] for name in shown if name in means})
        super().log(logs, start_time)

    def go_on_logging(self) -> None:
        """Count what was counted before the checkpoint that training goes on from."""
        self._observed = RunningMeans(self.args.device)
        logged, self._logged = self._logged, None
        counted = logged_before(logged)
        if counted is None:
            return
        self._globalstep_last_logged = counted["step"]
        self._tr_loss += counted["loss"]
        self._total_loss_scalar -= counted["loss"]  # which is of this call's steps alone
        if self.is_world_process_zero():  # the others' share is in it
            self._observed.go_on(counted["sums"])

    # Checkpoints -------------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any, *args: Any, **kwargs: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        logged = {
            "step": self._globalstep_last_logged,
            "loss": self.accelerator.reduce(self._tr_loss, "mean").item(),
            "sums": self._observed.sums(self.accelerator.reduce),
        }
        if self.args.should_save:  # first: their state is written last
            write_text(folder / LOGGED_FILE, json.dumps(logged) + "\n")
            if self._refreshes:
                write_jsonl(folder / _EXAMPLES_FILE, self.train_examples)
        super()._save_checkpoint(model, trial, *args, **kwargs)

    @property
    def trained_on(self) -> str:
        """On what it trains, for the card."""
        return data_told(self.train_examples, len(self.texts), refreshes=self._refreshes)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        check_base_record(self.adapted, resume_from_checkpoint)
        check_checkpoint(resume_from_checkpoint)
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._logged = Path(resume_from_checkpoint) / LOGGED_FILE
        if self._refreshes:
            self.use_examples(read_jsonl(Path(resume_from_checkpoint) / _EXAMPLES_FILE))
