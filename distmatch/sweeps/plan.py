"""What a sweep is to do, with all that can be checked before there are weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from distmatch.data.examples import Example
from distmatch.data.jsonl import to_examples
from distmatch.errors import ConfigError
from distmatch.evals.subject import Capability
from distmatch.evals.suite import Suite, check_suites
from distmatch.files import check_folder
from distmatch.sweeps.cells import Cell, Grid
from distmatch.sweeps.folder import SETTINGS_FILE
from distmatch.sweeps.rates import check_rates
from distmatch.sweeps.results import read_results
from distmatch.sweeps.sets import Sets, checked_sets
from distmatch.trainer import DistributionConfig, check_output_dir, check_targets
from distmatch.trainer.distribution_trainer import Rows
from distmatch.trainer.given import check_alone

NUM_TEXTS = 24
"""Ordinary texts that each cell's adapter is held against the base on, unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep that can be carried out, but for what only the model's weights tell.

    Raises:
        ConfigError: No examples to train on, settings without use, targets that the loss can't
            have, learning rates with nothing to choose between them by, a folder of another run,
            or suites that can't be asked.
    """

    cells: Sequence[Cell]
    """Those with the lowest blocks first."""
    train: Sequence[Example]
    sets: Sets[Sequence[Example]]
    """What cells are measured on."""
    args: DistributionConfig
    """`output_dir` is the sweep's folder; seed and learning rate are the cells'."""
    num_texts: int = NUM_TEXTS
    """Ordinary ones, on which each cell's adapter is held against the base."""
    suites: Sequence[Suite] = ()
    """Asked of the base and of each place's adapters besides."""

    def __post_init__(self) -> None:
        """Check all that the grid and the sets haven't been checked for."""
        if not self.train:
            raise ConfigError("train_dataset is empty: give examples to train on")
        if not self.num_texts >= 1:
            raise ConfigError(f"num_texts is {self.num_texts}, expected 1 or more")
        if self.suites:
            check_suites(self.suites, frozenset(Capability))
        _check_args(self.args)
        check_targets(self.args, self.train)
        if self.sets.tuning is None:
            check_rates(self.folder, self.cells)
        _check_folder(self.folder)

    @classmethod
    def of(  # noqa: PLR0913 (one keyword each)
        cls,
        model: PreTrainedModel,
        *,
        train_dataset: Rows,
        eval_datasets: Mapping[str, Rows],
        tuning_dataset: Rows | None = None,
        args: DistributionConfig,
        grid: Grid | None = None,
        num_texts: int = NUM_TEXTS,
        suites: Sequence[Suite] = (),
    ) -> "Plan":
        """The plan of `distmatch.sweep`'s arguments.

        Args:
            model: Without an adapter; it may be without weights too.
            train_dataset: As there.
            eval_datasets: As there.
            tuning_dataset: As there.
            args: As there.
            grid: As there.
            num_texts: As there.
            suites: As there.

        Raises:
            DataError: Records that can't be used, each with its number.
            ConfigError: An empty grid or set, and what no plan may have.
            TargetingError: Sites or blocks the model doesn't have.
        """
        train = to_examples(train_dataset)
        return cls(
            cells=(grid or Grid()).cells(model, args.learning_rate),
            train=train,
            sets=checked_sets(eval_datasets, tuning_dataset, train),
            args=args,
            num_texts=num_texts,
            suites=tuple(suites),
        )

    @property
    def folder(self) -> Path:
        """The sweep's."""
        return Path(str(self.args.output_dir))

    def __str__(self) -> str:
        """How many cells of which size there are, and how many are finished."""
        done, _ = read_results(self.folder)
        finished = sum(cell.name in done for cell in self.cells)
        sizes = [cell.parameters for cell in self.cells]
        rates = sorted({cell.learning_rate for cell in self.cells})
        return (
            f"{len(self.cells)} cells of {min(sizes):,} to {max(sizes):,} LoRA parameters, at "
            f"{'the learning rates' if len(rates) > 1 else 'learning rate'} "
            f"{', '.join(map(str, rates))}, in {self.folder}; "
            f"{finished} of them are finished"
        )


def _check_args(args: DistributionConfig) -> None:
    check_alone(args)
    for name in ("retention_weight", "refresh_steps"):
        if getattr(args, name):
            raise ConfigError(f"{name} has no use in a sweep: leave it out")


def _check_folder(folder: Path) -> None:
    """Refuse one that can't be written to, or that holds something else than a sweep."""
    check_folder(folder, "output_dir")
    if (folder / SETTINGS_FILE).exists():
        return
    try:
        check_output_dir(folder, resume=False)
    except ConfigError as error:  # its remedy is a trainer's
        raise ConfigError(
            f"{folder} holds checkpoints or an adapter of another run: choose another output_dir "
            "([train] in a run file)"
        ) from error
