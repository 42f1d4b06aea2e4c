"""A local model that is to be asked, before it is loaded."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distmatch.evals.local import LocalModel
from distmatch.evals.subject import Capability
from distmatch.models.adapters import check_adapter, load_adapter
from distmatch.models.choice import ModelChoice, adapter_record
from distmatch.models.loading import mixed_dtype


@dataclass(frozen=True, kw_only=True)
class LocalSource:
    """A model, its adapter, and how they are asked; loaded when first needed."""

    choice: ModelChoice
    adapter: str | Path | None = None
    other_base: bool = False
    """Whether the adapter is taken on another base than it was trained on."""
    batch_size: int = 32
    seed: int = 0
    progress: bool = True
    precision: str | None = None
    """As of `LocalModel`."""

    def __post_init__(self) -> None:
        """Check the precision, before anything is loaded.

        Raises:
            ConfigError: An unknown one.
        """
        mixed_dtype(self.precision)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All that a local model has."""
        return frozenset(Capability)

    def record(self) -> dict[str, Any]:
        """What its answers depend on, as plain JSON: the bytes of model and adapter.

        Raises:
            LoadError: They aren't there, or not whole.
        """
        adapter = None if self.adapter is None else adapter_record(self.adapter)
        precision = {} if self.precision is None else {"precision": self.precision}
        return {**self.choice.record(), "adapter": adapter, **precision}

    def subject(self) -> LocalModel:
        """The model, loaded once.

        Raises:
            LoadError: It can't be, or the adapter doesn't fit it.
        """
        return self._loaded

    @cached_property
    def _loaded(self) -> LocalModel:
        if self.adapter is not None:
            check_adapter(Path(self.adapter))  # before weights are read
        model, tokenizer = self.choice.load()
        if self.adapter is not None:
            model = load_adapter(model, self.adapter, other_base=self.other_base)  # type: ignore[assignment]
        return LocalModel(
            model=model,
            tokenizer=tokenizer,
            batch_size=self.batch_size,
            seed=self.seed,
            progress=self.progress,
            precision=self.precision,
        )
