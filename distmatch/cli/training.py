"""`distmatch train`: a run file's run, performed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from distmatch.cli.run_files import TrainRun, read_run
from distmatch.cli.sources import section_examples, section_origin
from distmatch.data.texts import read_texts
from distmatch.evals.suites import OwnExamples
from distmatch.runs import Run, perform

RUN_FILE = "run.toml"


def train(path: str | Path, overrides: Sequence[str] = (), *, resume: bool = False) -> None:
    """Train as a run file says, and leave in its folder what came of it.

    Args:
        path: The run file.
        overrides: Settings instead of the file's, each as `section.key=value`.
        resume: Go on with the run in the folder.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known.
    """
    perform(described_run(read_run(path, overrides)), resume=resume)


def described_run(file: TrainRun) -> Run:
    """The run that a run file describes.

    Raises:
        DataError: Examples or texts that can't be drawn or read.
    """
    train, test = section_examples(file.data)
    texts = read_texts(file.texts) if file.texts else []
    return Run(
        model=file.model,
        config=file.config,
        train=train,
        suites=(OwnExamples(rows=test), *file.suites),
        eval_examples=test,
        lora=file.lora,
        retention=replace(file.own_chats, beside=texts) if file.own_chats else texts,
        seed=file.data.get("seed", 0),
        origin=section_origin(file.data),
        notes={RUN_FILE: file.text},
    )
