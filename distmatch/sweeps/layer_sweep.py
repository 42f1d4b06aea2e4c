"""`dm.sweep`: which layers learn it, from a model and examples to the report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distmatch.claims import locked
from distmatch.evals.suite import Suite
from distmatch.files import told_if_unwritable
from distmatch.progress import phase, work
from distmatch.sweeps.asking import ask_base, ask_places, check_asked, phases
from distmatch.sweeps.cell_runs import run_cells
from distmatch.sweeps.cells import Grid
from distmatch.sweeps.conditions import Conditions
from distmatch.sweeps.folder import PROBE_FILE
from distmatch.sweeps.measures import measure_base
from distmatch.sweeps.outcome import Sweep
from distmatch.sweeps.plan import NUM_TEXTS, Plan
from distmatch.sweeps.probe import NUM_EXAMPLES, probe, read_scores, write_scores
from distmatch.sweeps.progress import CELLS
from distmatch.sweeps.record import settle_record
from distmatch.sweeps.report import write_report
from distmatch.trainer import DistributionConfig
from distmatch.trainer.distribution_trainer import Rows


def sweep(  # noqa: PLR0913 (one keyword each)
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    train_dataset: Rows,
    eval_datasets: Mapping[str, Rows],
    tuning_dataset: Rows | None = None,
    args: DistributionConfig,
    grid: Grid | None = None,
    num_texts: int = NUM_TEXTS,
    suites: Sequence[Suite] = (),
) -> Sweep:
    """Train an adapter a cell of the grid, all from the same base, and report what each learned.

    Started again on the same folder, it goes on: finished cells are kept, and one that was cut
    short is done again. More processes may work on one folder; the grid may grow.

    Args:
        model: A causal language model without an adapter; it is left as it was.
        tokenizer: Its tokenizer.
        train_dataset: Examples or records, for all cells.
        eval_datasets: The same, by name: first what the maps are drawn of, then what is to show
            how far it carries, such as other wordings.
        tuning_dataset: The same, none of which is in the others: of several learning rates each
            place is shown with the one that has most control here. None: each has but one.
        args: Of every cell's training; `output_dir` is the sweep's folder.
        grid: What is varied. None: attention and mlp of each block alone, one seed.
        num_texts: On so many ordinary texts each cell's adapter is held against the base.
        suites: What else the base and each place's adapters are asked, at the learning rate chosen
            for it, such as `(Knowledge(),)`: a map of each one's headline is drawn. They may be
            added to a finished sweep.

    Raises:
        DataError: Records that can't be used, each with its number.
        ConfigError: An empty grid, learning rates with nothing to choose between them by, or a
            folder with a sweep of other settings or with files that can't be read.
        TargetingError: Sites or blocks the model doesn't have.
        LoadError: The folder can't be written to, such as on a full disk; what is finished stays.
    """
    plan = Plan.of(
        model,
        train_dataset=train_dataset,
        eval_datasets=eval_datasets,
        tuning_dataset=tuning_dataset,
        args=args,
        grid=grid,
        num_texts=num_texts,
        suites=suites,
    )
    return carry_out(plan, model, tokenizer)


def carry_out(plan: Plan, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Sweep:
    """What comes of a plan, with its report written.

    Args:
        plan: What to do.
        model: The one that it was made for, with its weights; it is left as it was.
        tokenizer: Its tokenizer.

    Raises:
        DataError: Examples that can't be encoded.
        ConfigError: A folder with a sweep of other settings, or with files that can't be read.
        LoadError: The folder can't be written to, such as on a full disk; what is finished stays.
    """
    conditions = Conditions.of(plan, model, tokenizer)
    with told_if_unwritable(plan.folder, "start the sweep again; finished cells are kept"):
        with work(str(plan.folder), kinds(plan), shown=not plan.args.disable_tqdm):
            with locked(plan.folder):  # the first of several processes does it, the others wait
                settle_record(conditions, plan.cells)
                with phase("measuring the base"):
                    measure_base(conditions)
                _leave_probe(conditions)
                check_asked(conditions, plan.suites)
            ask_base(conditions, plan.suites)
            elsewhere = run_cells(conditions, plan.cells)
            try:
                elsewhere += ask_places(conditions, plan.suites, plan.cells, elsewhere)
            finally:  # whatever a suite may refuse, cells are done
                swept = write_report(plan.folder)
        return replace(swept, elsewhere=tuple(elsewhere))


def kinds(plan: Plan) -> list[str]:
    """The kinds of the phases of carrying a plan out."""
    return [CELLS, *phases(plan.suites, plan.cells)]


def _leave_probe(conditions: Conditions) -> None:
    """Leave the probe's scores, computed once."""
    if (conditions.folder / PROBE_FILE).exists():
        read_scores(conditions.folder)
        return
    tries = conditions.encoder.encode_all(conditions.train[:NUM_EXAMPLES])
    bar = not conditions.args.disable_tqdm
    scores = probe(conditions.model, conditions.encoder, tries, progress=bar)
    write_scores(conditions.folder, scores)
