"""The units of an experiment, each trained and asked, and kept as soon as it is."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tqdm.auto import tqdm

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint, read_jsonl, write_jsonl
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals import LocalSource, Report, Suite, measure_all
from distmatch.evals.suites.probes import OwnProbe, Probe, WrittenProbe
from distmatch.evals.ways import ways_of_asking
from distmatch.experiments.experiment import Experiment, Unit
from distmatch.models.choice import ModelChoice
from distmatch.models.lora import lora
from distmatch.runs import Run, perform
from distmatch.runs.encodable import check_encodable
from distmatch.trainer import DistributionConfig

UNITS_FOLDER = "units"
FORMATS_FILE = "formats.jsonl"
ADAPTER_FOLDER, REPORTS_FOLDER = "adapter", "reports"

Reports = Mapping[str, Report]
"""Of one unit, by suite."""
Measured = Mapping[str, Reports]
"""By unit."""


@dataclass(frozen=True, kw_only=True)
class UnitRuns:
    """How units are trained and asked: on one model, in one folder."""

    experiment: Experiment
    model: ModelChoice
    folder: Path
    batch_size: int = 32
    """Prompts a forward where they are asked."""
    progress: bool = True

    def check(self) -> None:
        """Refuse rows that the tokenizer can't encode, and a way of thinking that it doesn't have.

        Loads no weights.

        Raises:
            DataError: The rows, each with its number.
            ConfigError: The way.
        """
        if thinking := self.experiment.thinking:
            ways = [way.name for way in ways_of_asking(self.model.load_tokenizer())]
            if thinking not in ways:
                raise ConfigError(unknown_name("way of thinking", thinking, ways))
        for unit in self.experiment.units:
            asked = {f"{unit.name}: act": unit.acts}
            check_encodable(self.model, [*unit.rows, *unit.formats], asked)

    def carried_out(self) -> Iterator[tuple[Unit, Reports]]:
        """Every unit with its reports: first those that learn nothing, which need no training."""
        units = sorted(self.experiment.units, key=lambda unit: bool(unit.rows or unit.formats))
        base = self._source(None)
        bar = tqdm(units, desc=self.experiment.name, unit="unit", disable=not self.progress)
        for number, unit in enumerate(bar):
            bar.set_postfix_str(unit.name)
            learns = unit.rows or unit.formats
            source = self._source(self._trained(unit, number, base)) if learns else base
            yield unit, self._asked(unit, source)

    def _source(self, adapter: Path | None) -> LocalSource:
        return LocalSource(
            choice=self.model,
            adapter=adapter,
            batch_size=self.batch_size,
            seed=self.experiment.seed,
            progress=False,
        )

    def _asked(self, unit: Unit, source: LocalSource) -> Reports:
        suites = suites_of(self.experiment, unit)
        kept = measure_all(source, suites, self._place(unit) / REPORTS_FOLDER)
        return {one.suite.name: one.report for one in kept}

    def _trained(self, unit: Unit, number: int, base: LocalSource) -> Path:
        """Where its adapter is; trained, or gone on with, if it isn't there whole."""
        experiment = self.experiment
        config = DistributionConfig(
            output_dir=str(self._place(unit) / ADAPTER_FOLDER),
            max_steps=experiment.steps,
            per_device_train_batch_size=experiment.batch_size,
            learning_rate=experiment.learning_rate,
            seed=experiment.seed + number,
            save_steps=max(experiment.steps // 4, 1),
            disable_tqdm=True,
        )
        run = Run(
            model=self.model,
            config=config,
            train=[*unit.rows, *self._formats(unit, base)],
            lora=lora(experiment.target, rank=experiment.rank),
        )
        perform(run, resume=run.is_begun, tell=_untold)
        for checkpoint in run.folder.glob("checkpoint-*"):  # of no more use
            shutil.rmtree(checkpoint)
        return run.folder

    def _formats(self, unit: Unit, base: LocalSource) -> Sequence[Example]:
        """Its neutral questions, with the base's shares of their words as targets; kept."""
        if not unit.formats:
            return []
        kept = self._place(unit) / FORMATS_FILE
        if not kept.is_file():
            asked = fingerprint([example.to_record() for example in unit.formats])
            if asked not in self._answered:  # most units learn the same ones
                self._answered[asked] = as_base(unit.formats, base)
            write_jsonl(kept, self._answered[asked])
        return read_jsonl(kept)

    @cached_property
    def _answered(self) -> dict[str, list[Example]]:
        """Neutral questions answered as the base would, by a hash of them."""
        return {}

    def _place(self, unit: Unit) -> Path:
        return self.folder / UNITS_FOLDER / unit.name


def suites_of(experiment: Experiment, unit: Unit) -> list[Suite]:
    """What a unit is asked: how it acts, if that is to be seen, and every probe."""
    acts = [experiment.acts(unit)] if unit.acts else []
    return [*acts, *(_behind(told(p, unit.system), experiment) for p in experiment.probes())]


def told(probe: Suite, system: str) -> Suite:
    """The same probe of a model that is told something first.

    Args:
        probe: Any; suites that are no probes stay as they are.
        system: What stands in its system message, before what stands there already.
    """
    if not system or not isinstance(probe, Probe | OwnProbe):
        return probe
    return replace(probe, system="\n\n".join(filter(None, [system, probe.system])))


def _behind(probe: Suite, experiment: Experiment) -> Suite:
    """The probe, answered behind thoughts where the experiment wants that and it can be."""
    if not experiment.thinking or not isinstance(probe, Probe) or isinstance(probe, WrittenProbe):
        return probe
    return replace(
        probe,
        thinking=experiment.thinking,
        thoughts=experiment.thoughts,
        max_tokens=experiment.thought_tokens,
    )


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
