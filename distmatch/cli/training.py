"""`distmatch train`: everything that can be checked first, then before, training, after."""

import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distmatch.cli.run_files import Run, read_run
from distmatch.cli.sources import section_examples
from distmatch.cli.tables import Tables, differences, to_toml
from distmatch.data import Example
from distmatch.errors import ConfigError
from distmatch.evals import Report, comparison_table, evaluate
from distmatch.evals.outcome import METRICS_FILE, save_comparison
from distmatch.models.lora import target_table
from distmatch.runs.encodable import check_encodable
from distmatch.scoring import model_encoder, resolve_at_most
from distmatch.trainer import DistributionTrainer, check_output_dir, check_targets

RUN_FILE = "run.toml"
BEFORE_FILE = "before.json"
AFTER_FILE = "after.json"


def train(path: str | Path, overrides: Sequence[str] = (), *, resume: bool = False) -> None:
    """Train as a run file says, and leave in its folder what came of it.

    Args:
        path: The run file.
        overrides: Settings instead of the file's, each as `section.key=value`.
        resume: Go on with the run in the folder.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known.
    """
    start = time.perf_counter()
    run = read_run(path, overrides)
    check_folder(run, resume=resume)
    if resume and (run.folder / METRICS_FILE).is_file():
        print(f"{run.folder} is finished already")
        print(comparison_table(_reports(run.folder)))
        return
    train_examples, test = section_examples(run.data)
    check_targets(run.config, train_examples)
    check_encodable(run.model, train_examples, {"test": test})
    model, tokenizer = run.model.load()
    print(target_table(run.lora, model))
    test = resolve_at_most(model, model_encoder(model, tokenizer), test)
    trainer = DistributionTrainer(
        model=model,
        args=run.config,
        processing_class=tokenizer,
        train_dataset=train_examples,
        eval_dataset=test,
        peft_config=run.lora,
    )
    ends = tokenizer.convert_ids_to_tokens(list(trainer.encoder.end_ids))
    print(f"an answer to a chat ends with one of: {', '.join(ends)}")
    run.save(run.folder / RUN_FILE)
    if not (run.folder / BEFORE_FILE).is_file():  # the adapter is attached, but changes nothing yet
        _measured(run, model, tokenizer, test).save(run.folder / BEFORE_FILE)
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    _measured(run, model, tokenizer, test).save(run.folder / AFTER_FILE)
    reports = _reports(run.folder)
    print(comparison_table(reports))
    seconds = time.perf_counter() - start
    print(
        save_comparison(run.folder, **reports, seconds=seconds, history=trainer.state.log_history)
    )


def check_folder(run: Run, *, resume: bool) -> None:
    """Refuse to write over another run, and to go on with one that was told other things.

    Raises:
        ConfigError: The folder holds a run and this isn't to resume; or it is, and the folder
            holds none, or one with other settings.
    """
    kept = run.folder / RUN_FILE
    if not resume:
        if kept.exists():
            raise ConfigError(
                f"{run.folder} holds another run: go on with it (--resume), "
                "or choose another train.output_dir"
            )
        try:
            return check_output_dir(run.folder, resume=False)
        except ConfigError as error:  # its remedy is Python's
            raise ConfigError(
                f"{run.folder} holds checkpoints or an adapter of another run: "
                "choose another train.output_dir"
            ) from error
    if not kept.is_file():
        raise ConfigError(
            f"{run.folder} holds no run to resume (no {RUN_FILE}): leave out --resume, "
            "or check train.output_dir"
        )
    there = tomllib.loads(kept.read_text(encoding="utf-8"))
    different = differences(_without_folder(there), _without_folder(_as_read(run.tables)))
    if different:
        raise ConfigError(
            f"the run in {run.folder} was told other things: {'; '.join(different)}. Resume it "
            f"with its own settings ({kept}), or choose another train.output_dir"
        )
    return None


def _measured(
    run: Run,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    test: list[Example],
) -> Report:
    return evaluate(
        model,
        tokenizer,
        test,
        batch_size=run.config.per_device_eval_batch_size,
        progress=not run.config.disable_tqdm,
    )


def _reports(folder: Path) -> dict[str, Report]:
    """Both as they were kept, so that a resumed run shows what an uninterrupted one does."""
    return {
        "before": Report.load(folder / BEFORE_FILE),
        "after": Report.load(folder / AFTER_FILE),
    }


def _as_read(tables: Tables) -> Tables:
    return tomllib.loads(to_toml(tables))


def _without_folder(tables: Tables) -> Tables:
    """Without the one setting that may be written in several ways, and by which it was found."""
    return {
        section: {key: value for key, value in table.items() if key != "output_dir"}
        for section, table in tables.items()
    }
