"""Measure, train, measure again, keep all of it; go on where a kill interrupted.

A run's folder says how far it is: with `run.json` it has begun, `before/` and `after/` hold each
suite that is measured, with `history.json` the adapter is trained, with `metrics.json` it is done.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback

from distmatch.data.examples import Example, Prompt
from distmatch.data.jsonl import read_jsonl, write_jsonl
from distmatch.data.texts import read_texts, write_texts
from distmatch.errors import ConfigError, listed
from distmatch.evals import Capability, LocalModel
from distmatch.evals.store import measure_all, measuring
from distmatch.evals.suites import OwnExamples
from distmatch.files import alone_in, check_folder, told_if_unwritable, write_json, write_text
from distmatch.models.adapters import load_adapter
from distmatch.models.choice import adapter_record
from distmatch.models.lora import LoraTarget, target_table
from distmatch.processes import is_first, of_the_first, wait_for_all
from distmatch.progress import say, work
from distmatch.runs.card import card_measures, overlap_told
from distmatch.runs.outcome import AFTER, BEFORE, HISTORY_FILE, METRICS_FILE, RunOutcome
from distmatch.runs.page import leave_page
from distmatch.runs.record import changes
from distmatch.runs.run import RUN_RECORD, Run
from distmatch.sampling import own_draws
from distmatch.trainer import DistributionTrainer, check_output_dir, data_told, write_card
from distmatch.trainer.callbacks import TRAINING

DRAWN_FILE = "drawn.jsonl"
"""The examples of a run that draws its first ones from the model."""
CHATS_FILE = "own_chats.jsonl"
"""The texts of a run whose base writes them itself."""

_T = TypeVar("_T")

Tell = Callable[[str], object]


def perform(run: Run, *, resume: bool = False, tell: Tell = say) -> RunOutcome:
    """Measure, train and measure as a run says, and leave in its folder what came of it.

    Killed at any moment and resumed, it ends in the same to the bit; a finished one is only shown.
    Processes that torchrun or accelerate started do it together, each its share of training and
    measuring; the first one writes and tells.

    Args:
        run: What to do.
        resume: Go on with the run in the folder; `run.is_begun` where there is one.
        tell: Shown what happens, line by line.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known.
    """
    start = time.perf_counter()
    tell = tell if is_first() else _untold
    record = run.record()
    check_run_folder(run, record, resume=resume)
    is_finished = (run.folder / METRICS_FILE).is_file()
    if is_finished:
        tell(f"{run.folder} is finished already")
        return _told(run, tell)
    check_folder(run.folder, "output_dir")
    run.check()
    wait_for_all()  # before the first one writes
    with (
        told_if_unwritable(run.folder, "go on with --resume (resume=True)"),
        alone_in(run.folder),
    ):
        if is_first():  # no other process has begun meanwhile
            check_run_folder(run, record, resume=resume)
        shown = is_first() and not run.config.disable_tqdm
        with work(str(run.folder), _phases(run), shown=shown):
            trained_on = _Performance(run, record, tell).carry_out()
        wait_for_all()
        outcome = _told(run, tell)
        if is_first():
            for told in outcome.draw():
                tell(told)
            measures = card_measures(outcome.after, outcome.before)
            write_card(run.folder, run.folder.resolve().name, trained_on, measures)
            if outcome.suites:
                tell(leave_page(outcome, trained_on))
            tell(outcome.save_metrics(time.perf_counter() - start, trained_on))
        wait_for_all()
    return outcome


def _untold(_line: str) -> None:
    """Of processes at work on one run, the first tells."""


def _phases(run: Run) -> list[str]:
    """What is to come where nothing but whole reports and checkpoints is there."""
    suites = [measuring(suite) for suite in run.suites]
    return suites if (run.folder / HISTORY_FILE).is_file() else [*suites, TRAINING, *suites]


def _told(run: Run, tell: Tell) -> RunOutcome:
    outcome = RunOutcome.load(run.folder)
    if outcome.suites:
        tell(outcome.tables())
    return outcome


def check_run_folder(run: Run, record: Mapping[str, Any], *, resume: bool) -> None:
    """Refuse to write over another run, and to go on with one that was told other things.

    Args:
        run: To be done there.
        record: The run's.
        resume: Whether to go on.

    Raises:
        ConfigError: The folder holds a run and this isn't to resume; or it is, and the folder
            holds none, or one that was told other things, with what differs.
    """
    if not resume:
        _refuse_another(run)
        return
    kept = run.folder / RUN_RECORD
    _refuse_an_older_run(run)
    if not kept.is_file():
        raise ConfigError(
            f"{run.folder} holds no run to resume (no {RUN_RECORD}): leave out --resume "
            "(resume=True), or check output_dir"
        )
    try:
        different = changes(json.loads(kept.read_text(encoding="utf-8")), record)
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{kept} can't be read ({error}): restore it, or choose another output_dir"
        ) from error
    if different:
        raise ConfigError(
            f"the run in {run.folder} was told other things: {listed(different, '; ')}. Resume it "
            "with its own settings, or choose another output_dir"
        )


def _refuse_an_older_run(run: Run) -> None:
    older = [name for name in run.notes if (run.folder / name).exists()]
    if older and not run.is_begun:
        raise ConfigError(
            f"{run.folder} holds another run, of an earlier version ({older[0]} without "
            f"{RUN_RECORD}), which can't be gone on with: choose another output_dir"
        )


def _refuse_another(run: Run) -> None:
    _refuse_an_older_run(run)
    if any((run.folder / name).exists() for name in (RUN_RECORD, *run.notes)):
        raise ConfigError(
            f"{run.folder} holds another run: go on with it (--resume, or resume=True), "
            "or choose another output_dir"
        )
    try:
        check_output_dir(run.folder, resume=False)
    except ConfigError as error:  # its remedy is the trainer's
        raise ConfigError(
            f"{run.folder} holds checkpoints or an adapter of another run: "
            "choose another output_dir"
        ) from error


@dataclass(frozen=True)
class _Source:
    """A loaded model, and what its answers depend on."""

    model: LocalModel
    told: Mapping[str, Any]

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.model.capabilities

    @property
    def seed(self) -> int:
        return self.model.seed

    @property
    def batch_size(self) -> int | None:
        return self.model.batch_size

    def subject(self) -> LocalModel:
        return self.model

    def record(self) -> Mapping[str, Any]:
        return self.told


@dataclass(frozen=True)
class _Performance:
    """A run on its way."""

    run: Run
    record: Mapping[str, Any]
    tell: Tell

    def carry_out(self) -> str:
        """All but figures, card and metrics, or what is left of it; on what was trained."""
        folder = self.run.folder
        model, tokenizer = self.run.model.load()
        if (folder / HISTORY_FILE).is_file():
            trained = load_adapter(model, folder)
        else:
            trained = self._train(model, tokenizer)
        self._measure(AFTER, trained, tokenizer, adapter_record(folder))
        examples = self._examples(trained)  # kept, so that nothing is drawn
        own = [suite.examples for suite in self.run.suites if isinstance(suite, OwnExamples)]
        told = data_told(
            examples,
            len(self._texts(trained, tokenizer)),
            refreshes=self.run.refresh is not None,
            origin=self.run.origin,
        )
        return " ".join(filter(None, [told, *(overlap_told(examples, rows) for rows in own)]))

    def _train(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PeftModel:
        run = self.run
        if isinstance(run.lora, LoraTarget):
            self.tell(target_table(run.lora, model))
        begun: PreTrainedModel | PeftModel = model
        if run.adapter is not None:
            begun = load_adapter(model, run.adapter, trainable=True, other_base=run.other_base)
        examples, texts = self._examples(begun), self._texts(begun, tokenizer)
        self._keep_what_was_told()
        self._measure(BEFORE, begun, tokenizer, self.record["adapter"])
        trainer = self._trainer(begun, tokenizer, examples, texts)
        trainer.train(resume_from_checkpoint=True)
        trainer.save_model()
        wait_for_all()  # the first one writes it
        # Without the last line, which is of this process alone
        logged = [line for line in trainer.state.log_history if "train_runtime" not in line]
        # Which may hold NaN; sorted, as lines that a checkpoint has kept are
        history = json.dumps(logged, indent=1, sort_keys=True)
        if is_first():
            write_text(self.run.folder / HISTORY_FILE, history + "\n")
        return cast(PeftModel, trainer.adapted)

    def _trainer(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: Sequence[Example],
        texts: Sequence[Prompt],
    ) -> DistributionTrainer:
        run = self.run
        trainer = DistributionTrainer(
            model=model,
            args=run.config,
            processing_class=tokenizer,
            train_dataset=examples,
            eval_dataset=run.eval_examples or None,
            peft_config=run.lora,
            retention_dataset=texts or None,
            refresh=run.refresh,
        )
        if self.tell is not say:
            trainer.remove_callback(PrinterCallback)
        ends = tokenizer.convert_ids_to_tokens(list(trainer.encoder.end_ids))
        self.tell(f"an answer to a chat ends with one of: {', '.join(ends)}")
        return trainer

    def _examples(self, model: PreTrainedModel | PeftModel) -> Sequence[Example]:
        """Those to begin with."""
        draw = self.run.train
        if not callable(draw):
            return draw
        return self._drawn_once(DRAWN_FILE, lambda: list(draw(model)), write_jsonl, read_jsonl)

    def _texts(
        self, model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase
    ) -> Sequence[Prompt]:
        """Ordinary ones, on which to stay near the base."""
        chats = self.run.retention
        if not callable(chats):
            return chats
        shows = not self.run.config.disable_tqdm
        write = partial(chats, model, tokenizer, progress=shows)
        return self._drawn_once(CHATS_FILE, write, write_texts, read_texts)

    def _drawn_once(
        self,
        name: str,
        draw: Callable[[], list[_T]],
        write: Callable[[Path, list[_T]], None],
        read: Callable[[Path], list[_T]],
    ) -> list[_T]:
        """What is drawn from the model, kept, so that a resumed run draws nothing anew."""
        kept = self.run.folder / name
        if not (self.run.is_begun and kept.is_file()):
            with own_draws():
                torch.manual_seed(self.run.config.seed)
                drawn = of_the_first(draw)
            if is_first():
                write(kept, drawn)
            wait_for_all()
        return read(kept)

    def _keep_what_was_told(self) -> None:
        if not is_first():
            return
        for name, text in self.run.notes.items():
            write_text(self.run.folder / name, text)
        write_json(self.run.folder / RUN_RECORD, self.record)

    def _measure(
        self,
        when: str,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        adapter: str | None,
    ) -> None:
        """Every suite that isn't measured yet, each kept as soon as it is."""
        config = self.run.config
        for suite in self.run.suites:
            subject = LocalModel(
                model=model,
                tokenizer=tokenizer,
                batch_size=config.per_device_eval_batch_size,
                # Examples of yours aren't drawn by it
                seed=0 if isinstance(suite, OwnExamples) else self.run.seed,
                progress=is_first() and not config.disable_tqdm,
                shared=not config.fsdp,  # for which all run the same forwards
            )
            source = _Source(subject, {**self.record["model"], "adapter": adapter})
            with own_draws():
                list(measure_all(source, [suite], self.run.folder / when))
            self.tell(f"{when} training, {suite.name} is measured")
