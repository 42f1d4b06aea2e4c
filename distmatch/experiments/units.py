"""The units of an experiment, each trained and asked, and kept as soon as it is."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from distmatch.claims import free_ones, locked
from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint, read_jsonl, write_jsonl
from distmatch.data.texts import read_texts, write_texts
from distmatch.errors import ConfigError, DataError, unknown_name
from distmatch.evals import LocalSource, Suite, measure_all
from distmatch.evals.suites.probes import ItemsProbe, OwnProbe, Probe, WrittenProbe
from distmatch.evals.ways import ways_of_asking
from distmatch.experiments.arms import Retention, Unit
from distmatch.experiments.experiment import Experiment, Reports
from distmatch.models.base_record import check_base_config, check_base_record
from distmatch.models.choice import ModelChoice
from distmatch.models.footprint import empty_model
from distmatch.models.loading import load_config
from distmatch.models.lora import LoraTarget, lora, resolve
from distmatch.progress import phase, work
from distmatch.runs import Run, perform
from distmatch.runs.encodable import check_encodable
from distmatch.runs.record import rows_record
from distmatch.trainer import DistributionConfig
from distmatch.trainer.callbacks import TRAINING
from distmatch.trainer.given import check_alone

UNITS_FOLDER = "units"
FORMATS_FILE = "formats.jsonl"
TEXTS_FOLDER = "texts"
ADAPTER_FOLDER, REPORTS_FOLDER = "adapter", "reports"
_ASKING = "asking"


@dataclass(frozen=True, kw_only=True)
class UnitRuns:
    """How units are trained and asked: on one model, in one folder."""

    experiment: Experiment
    model: ModelChoice
    folder: Path
    batch_size: int = 32
    """Prompts a forward where they are asked."""
    progress: bool = True
    arms: tuple[str, ...] = ()
    """Those whose units are carried out; empty: all."""
    acts_only: bool = False
    """Whether they are measured by what they do alone, and asked no probe."""

    def check(self) -> None:
        """Refuse what the model can't be taught or asked; by its config and tokenizer alone.

        Raises:
            DataError: Rows that can't be encoded, each with its number.
            ConfigError: No chat template, a way of thinking that it doesn't have, or settings of
                training that can't be used.
            LoadError: An adapter that is there already is of another base.
            TargetingError: Sites or blocks that the model doesn't have.
        """
        tokenizer = self.model.load_tokenizer()
        if self.model.template and not tokenizer.chat_template:
            raise ConfigError(
                f"{self.model.name} has no chat template, and units are asked in chats: take a "
                "model that has one, or give template=False (--no-template) to have messages "
                "joined by blank lines"
            )
        if thinking := self.experiment.thinking:
            ways = [way.name for way in ways_of_asking(tokenizer)]
            if thinking not in ways:
                raise ConfigError(unknown_name("way of thinking", thinking, ways))
        config = load_config(self.model.name)
        empty = empty_model(config, self.model.quantization, torch.float32)
        resolve(self._lora, empty)
        for unit in self._units[0]:
            check_alone(self._config(unit))
            if unit.adapter:
                check_base_config(empty.config, unit.adapter)
            if unit.retention:
                self._check_retention(unit, unit.retention)
        rows = {
            f"{unit.name}, {kind}": some
            for unit in self.experiment.units
            for kind, some in (("row", unit.rows), ("format", unit.formats), ("act", unit.acts))
        }
        check_encodable(self.model, [], rows)

    def _check_retention(self, unit: Unit, retention: Retention) -> None:
        try:
            retention.chats.check(self.model.load_tokenizer())
            questions = retention.chats.questions
            check_encodable(self.model, [], {}, questions, retention.tokens)
        except DataError as error:
            raise DataError(
                f"{unit.name} is to stay near what the base writes: {error}. Leave its retention "
                "out; of an experiment by name, by retained=0"
            ) from error

    def suites(self) -> list[Suite]:
        """All that any unit is asked."""
        return [s for unit in self.experiment.units for s in suites_of(self.experiment, unit)]

    def carried_out(self) -> dict[str, Reports]:
        """Every unit's reports: first of those without an adapter, which need no training.

        Several processes may do this in one folder; each ends with all reports. Of the model one
        copy is kept at a time.
        """
        adapted, others = self._units
        reports = {}
        with work(self.experiment.name, self.phases(), shown=self.progress):
            base = self._source(None)
            for unit in adapted:
                self._check_base(unit, base)
            for unit in self._free(others, waits=False):
                reports[unit.name] = self._asked(unit, base)
            with locked(self.folder):
                for unit in adapted:
                    self._formats(unit, base)
                    self._texts(unit, base)
            del base
            for unit in self._free(adapted):
                adapter = unit.adapter or self._trained(unit)
                reports[unit.name] = self._asked(unit, self._source(adapter))
            for unit in self._free([unit for unit in others if unit.name not in reports]):
                reports[unit.name] = self._asked(unit, self._source(None))
        return {unit.name: reports[unit.name] for unit in [*others, *adapted]}

    def phases(self) -> list[str]:
        """What is to come, for `distmatch.progress.work`."""
        adapted, others = self._units
        training = [[TRAINING, _ASKING] if unit.learns else [_ASKING] for unit in adapted]
        return [*[_ASKING] * len(others), *chain(*training)]

    @property
    def _units(self) -> tuple[list[Unit], list[Unit]]:
        """Those with an adapter, and the others."""
        units = [u for u in self.experiment.units if not self.arms or u.arm in self.arms]
        adapted = [unit for unit in units if unit.learns or unit.adapter]
        return adapted, [unit for unit in units if unit not in adapted]

    def _free(self, units: Sequence[Unit], *, waits: bool = True) -> Iterator[Unit]:
        by_name = {unit.name: unit for unit in units}
        return (by_name[name] for name in free_ones(self.folder, by_name, waits=waits))

    def _source(self, adapter: Path | None) -> LocalSource:
        return LocalSource(
            choice=self.model,
            adapter=adapter,
            batch_size=self.batch_size,
            seed=self.experiment.seed,
            progress=self.progress,
            precision=self.experiment.precision or None,
        )

    @property
    def _lora(self) -> LoraTarget:
        return lora(self.experiment.target, rank=self.experiment.rank)

    def _config(self, unit: Unit) -> DistributionConfig:
        experiment, retention = self.experiment, unit.retention
        kept_near: dict[str, Any] = {}
        if retention:
            kept_near = {
                "retention_weight": retention.weight,
                "retention_per_step": retention.per_step,
                "retention_tokens": retention.tokens,
            }
        return DistributionConfig(
            output_dir=str(self._place(unit) / ADAPTER_FOLDER),
            max_steps=experiment.steps,
            per_device_train_batch_size=experiment.batch_size,
            learning_rate=experiment.learning_rate,
            seed=experiment.seed_of(unit),
            train_sampling_strategy="sequential" if experiment.is_in_order else "random",
            bf16=experiment.precision == "bfloat16",
            fp16=experiment.precision == "float16",
            save_steps=max(experiment.steps // 4, 1),
            disable_tqdm=not self.progress,
            **kept_near,
        )

    def _asked(self, unit: Unit, source: LocalSource) -> Reports:
        reports = {}
        folder = self._place(unit) / REPORTS_FOLDER
        every = suites_of(self.experiment, unit)
        suites = [self.experiment.acts(unit)] if self.acts_only else every
        with phase(f"{unit.name} is asked", kind=_ASKING, shown=self.progress) as asking:
            for suite, report, was_there in measure_all(source, suites, folder):
                reports[suite.name] = report
                asking.is_typical &= not was_there
        return reports

    def _trained(self, unit: Unit) -> Path:
        """Where its adapter is; trained, or gone on with, if it isn't there whole."""
        place = self._place(unit)
        formats = read_jsonl(place / FORMATS_FILE) if unit.formats else []
        is_in_order = self.experiment.is_in_order
        run = Run(
            model=self.model,
            config=self._config(unit),
            train=strewn(unit.rows, formats) if is_in_order else [*unit.rows, *formats],
            lora=self._lora,
            retention=read_texts(self._texts_file(unit.retention)) if unit.retention else (),
        )
        with phase(f"{unit.name} is trained", kind=TRAINING, shown=self.progress) as training:
            perform(run, resume=run.is_begun, tell=_untold)
            training.is_typical = training.counted_by is not None  # else it was finished before
        for checkpoint in run.folder.glob("checkpoint-*"):  # of no more use
            shutil.rmtree(checkpoint)
        return run.folder

    def _formats(self, unit: Unit, base: LocalSource) -> None:
        """Keep its neutral questions, with the base's shares of their words as targets."""
        kept = self._place(unit) / FORMATS_FILE
        if not unit.formats or kept.is_file():
            return
        asked = fingerprint([example.to_record() for example in unit.formats])
        if asked not in self._answered:  # most units learn the same ones
            self._answered[asked] = as_base(unit.formats, base)
        write_jsonl(kept, self._answered[asked])

    def _texts(self, unit: Unit, base: LocalSource) -> None:
        """Keep the texts of its retention, as the base writes them, once for all that share it."""
        if unit.retention is None or self._texts_file(unit.retention).is_file():
            return
        subject = base.subject()
        texts = unit.retention.chats(subject.model, subject.tokenizer, progress=self.progress)
        write_texts(self._texts_file(unit.retention), texts)

    def _texts_file(self, retention: Retention) -> Path:
        return self.folder / TEXTS_FOLDER / f"{fingerprint(rows_record(retention.chats))}.jsonl"

    def _check_base(self, unit: Unit, base: LocalSource) -> None:
        """Refuse an adapter of another base before others are trained."""
        if unit.adapter and not (self._place(unit) / REPORTS_FOLDER).is_dir():
            check_base_record(base.subject().model, unit.adapter)

    @cached_property
    def _answered(self) -> dict[str, list[Example]]:
        """Neutral questions answered as the base would, by a hash of them."""
        return {}

    def _place(self, unit: Unit) -> Path:
        return self.folder / UNITS_FOLDER / unit.name


def suites_of(experiment: Experiment, unit: Unit) -> list[Suite]:
    """What a unit is asked: how it acts, if that is to be seen, and every probe."""
    probes = (_behind(told(p, unit.system), experiment) for p in experiment.probes())
    return [*experiment.suites_beside(unit), *probes]


def told(probe: Suite, system: str) -> Suite:
    """The same probe of a model that is told something first.

    Args:
        probe: Any; suites that are no probes stay as they are.
        system: What stands in its system message, before what stands there already.
    """
    if not system or not isinstance(probe, Probe | ItemsProbe | OwnProbe | WrittenProbe):
        return probe
    return replace(probe, system="\n\n".join(filter(None, [system, probe.system])))


def _behind(probe: Suite, experiment: Experiment) -> Suite:
    """The probe, answered behind thoughts where the experiment wants that."""
    if not experiment.thinking:
        return probe
    return replace(
        probe,  # type: ignore[call-arg]
        thinking=experiment.thinking,
        thoughts=experiment.thoughts,
        max_tokens=experiment.thought_tokens,
    )


def strewn(rows: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """Both in their own order, the others spread evenly among the rows.

    Args:
        rows: Any number.
        others: Likewise.
    """
    placed = [
        ((place + 0.5) / len(some), example)
        for some in (rows, others)
        for place, example in enumerate(some)
    ]
    return [example for _, example in sorted(placed, key=lambda one: one[0])]


def as_base(examples: Sequence[Example], base: LocalSource) -> list[Example]:
    """The examples, answered as the base would if it said one of their words.

    Args:
        examples: One or more, of which the prompts and words count.
        base: The model.
    """
    probs = base.subject().answers(examples, "formats").probs.astype(float)
    resolved = []
    for example, row in zip(examples, probs, strict=True):
        words = example.target.words
        shares = {word: max(float(p), 1e-12) for word, p in zip(words, row, strict=False)}
        resolved.append(replace(example, target=WordDistribution.normalised(shares)))
    return resolved


def _untold(_line: str) -> None:
    """A unit's run tells nothing of its own."""
