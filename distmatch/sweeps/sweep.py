"""`dm.sweep`: which layers learn it, from a model and examples to the report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distmatch.data.examples import Example
from distmatch.data.jsonl import to_examples
from distmatch.data.ordinary import ordinary_texts
from distmatch.errors import ConfigError, LoadError
from distmatch.files import write_text
from distmatch.scoring import model_encoder, resolve_at_most
from distmatch.sweeps.cells import Grid
from distmatch.sweeps.probe import NUM_EXAMPLES, PROBE_FILE, probe
from distmatch.sweeps.reading import Sweep, read_scores, read_sweep
from distmatch.sweeps.records import locked
from distmatch.sweeps.runner import measure_base, run_cells
from distmatch.sweeps.setting import Setting, check_folder, check_rates, measured_examples
from distmatch.trainer import DistributionConfig, check_targets
from distmatch.trainer.distribution_trainer import Rows

_TEXTS = 24  # ordinary ones, on which the base is to be kept


def sweep(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    train_dataset: Rows,
    eval_datasets: Mapping[str, Rows],
    tuning_dataset: Rows | None = None,
    args: DistributionConfig,
    grid: Grid | None = None,
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

    Raises:
        DataError: Records that can't be used, each with its number.
        ConfigError: An empty grid, learning rates with nothing to choose between them by, or a
            folder with a sweep of other settings or with files that can't be read.
        TargetingError: Sites or blocks the model doesn't have.
        LoadError: The folder can't be written to, such as on a full disk; what is finished stays.
    """
    grid = grid or Grid()
    cells = grid.cells(model, args.learning_rate)
    train = to_examples(train_dataset)
    measured = measured_examples(eval_datasets, tuning_dataset, train)
    setting = _setting(model, tokenizer, train, measured, args)
    if tuning_dataset is None:
        check_rates(setting.folder, cells)
    try:
        with locked(setting.folder):  # the first of several processes does it, the others wait
            check_folder(setting, cells)
            measure_base(setting)
            _probe(setting)
        elsewhere = run_cells(setting, cells)
        return replace(read_sweep(setting.folder), elsewhere=tuple(elsewhere))
    except (OSError, SafetensorError) as error:
        raise LoadError(
            f"{setting.folder} can't be written to ({error}): mend that and start the sweep "
            "again; finished cells are kept"
        ) from error


def _setting(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Example],
    measured: Mapping[str, Sequence[Example]],
    args: DistributionConfig,
) -> Setting:
    _check_args(args)
    encoder = model_encoder(model, tokenizer)
    train = resolve_at_most(model, encoder, train)
    if not train:
        raise ConfigError("train_dataset is empty: give examples to train on")
    check_targets(args, train)
    texts = [text for kind in ordinary_texts().values() for text in kind]
    return Setting(
        model=model,
        tokenizer=tokenizer,
        train=train,
        tests={name: resolve_at_most(model, encoder, rows) for name, rows in measured.items()},
        texts=encoder.encode_texts([texts[k * len(texts) // _TEXTS] for k in range(_TEXTS)]),
        args=args,
    )


def _check_args(args: DistributionConfig) -> None:
    if args.n_gpu > 1 or args.world_size > 1:
        raise ConfigError(
            "a cell is trained on one GPU: start a process for each, with CUDA_VISIBLE_DEVICES=0, "
            "CUDA_VISIBLE_DEVICES=1 and so on; they share the folder"
        )
    for name in ("retention_weight", "refresh_steps"):
        if getattr(args, name):
            raise ConfigError(f"{name} has no use in a sweep: leave it out")


def _probe(setting: Setting) -> None:
    """Leave the probe's scores, computed once."""
    path = setting.folder / PROBE_FILE
    if path.exists():
        read_scores(setting.folder)
        return
    tries = setting.encoder.encode_all(setting.train[:NUM_EXAMPLES])
    bar = not setting.args.disable_tqdm
    scores = probe(setting.model, setting.encoder, tries, progress=bar)
    write_text(path, json.dumps([score._asdict() for score in scores], indent=1) + "\n")
