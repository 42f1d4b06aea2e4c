"""A run as a value: a model, what it is to learn and how, and what it is asked before and after."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from peft import PeftConfig
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distmatch.data.examples import Example, Prompt
from distmatch.errors import ConfigError
from distmatch.evals import Capability, Suite
from distmatch.evals.suite import check_suites
from distmatch.evals.suites import OwnExamples
from distmatch.models.choice import adapter_record
from distmatch.models.lora import LoraTarget
from distmatch.own_chats import OwnChats
from distmatch.runs.encodable import check_encodable
from distmatch.runs.record import config_record, lora_record, plain_json, rows_record
from distmatch.trainer import DistributionConfig, Refresh, check_targets

RUN_RECORD = "run.json"

Draw = Callable[[nn.Module], list[Example]]
"""Draws examples that depend on the model, by torch's global generator if at random."""


@runtime_checkable
class LoadableModel(Protocol):
    """A model that isn't loaded yet, such as a `ModelChoice`."""

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The model and its tokenizer."""

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer alone, which needs no weights."""

    def record(self) -> dict[str, Any]:
        """What its answers depend on, as plain JSON."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is trained, on what, how, and what is measured before and after; see `perform`.

    Raises:
        ConfigError: Both or neither of `lora` and `adapter`, or two suites of one name.
    """

    model: LoadableModel
    config: DistributionConfig
    """`output_dir` is the run's folder."""
    train: Sequence[Example] | Draw
    suites: Sequence[Suite] = ()
    """Asked before and after; of examples of yours `OwnExamples(rows=...)`."""
    eval_examples: Sequence[Example] = ()
    """Measured while it trains, as `config.eval_strategy` says."""
    lora: LoraTarget | PeftConfig | None = None
    """Which weights learn, of an adapter that is new."""
    adapter: Path | None = None
    """One to begin with instead."""
    other_base: bool = False
    """Whether that is taken on another base than it was trained on."""
    retention: Sequence[Prompt] | OwnChats = ()
    """Ordinary texts on which to stay near the base, by `config.retention_weight`; or how the base
    is to write some itself, before it is trained."""
    refresh: Refresh | None = None
    seed: int = 0
    """Of what suites draw, which holds out words of training data that were drawn by the same."""
    origin: str = ""
    """Where the examples to train on are from, for the adapter's card; empty: not known."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Texts to be left in the folder by their file names, such as a run file."""

    def __post_init__(self) -> None:
        """Check what needs nothing but the run itself."""
        if (self.lora is None) == (self.adapter is None):
            raise ConfigError(
                "a run takes either lora, for a new adapter, or adapter, one to begin with"
            )
        if self.config.retention_weight and not self.retention:
            raise ConfigError("retention_weight needs texts: give retention")
        if (self.refresh is None) != (self.config.refresh_steps is None):
            raise ConfigError("refresh and refresh_steps go together: give both or neither")
        names = [suite.name for suite in self.suites]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f'two suites are called "{twice[0]}": leave one out')

    @property
    def folder(self) -> Path:
        """Where everything goes that the run makes."""
        return Path(str(self.config.output_dir))

    @property
    def is_begun(self) -> bool:
        """Whether there is something to resume."""
        return (self.folder / RUN_RECORD).is_file()

    def record(self) -> dict[str, Any]:
        """All that its results depend on, as plain JSON.

        Raises:
            LoadError: There is no such model or adapter.
        """
        adapter = None if self.adapter is None else adapter_record(self.adapter)
        told = {
            "model": self.model.record(),
            "lora": lora_record(self.lora),
            "adapter": adapter,
            "train": config_record(self.config) | self._batch_size,
            "data": {
                "train": rows_record(self.train),
                "eval": rows_record(self.eval_examples) if self.eval_examples else None,
                "retention": rows_record(self.retention) if self.retention else None,
                "refresh": None if self.refresh is None else rows_record(self.refresh),
            },
            "suites": {suite.name: suite.record() for suite in self.suites},
            "seed": self.seed,
        }
        return dict(plain_json(told))

    @property
    def _batch_size(self) -> dict[str, int]:
        """How many prompts are answered at once, where what is written depends on it."""
        name = "per_device_eval_batch_size"
        does_matter = any(suite.draws_text for suite in self.suites)
        return {name: getattr(self.config, name)} if does_matter else {}

    def check(self) -> None:
        """Refuse examples, targets and suites that can't be used; loads no weights.

        Raises:
            DistmatchError: The first kind of what can't be used.
        """
        if self.suites:
            check_suites(self.suites, frozenset(Capability))
        train = [] if callable(self.train) else self.train
        check_targets(self.config, train)
        own = {
            "test" if suite.name == OwnExamples.name else suite.name: suite.examples
            for suite in self.suites
            if isinstance(suite, OwnExamples)
        }
        if list(self.eval_examples) not in [list(examples) for examples in own.values()]:
            own["eval"] = list(self.eval_examples)
        if callable(self.retention):
            self.retention.check(self.model.load_tokenizer())
        kept = self.retention
        texts = [*kept.questions, *kept.beside] if isinstance(kept, OwnChats) else kept
        check_encodable(self.model, train, own, texts, self.config.retention_tokens)
