"""The command line's arguments, command by command."""

import argparse
from typing import Any

from distmatch import __version__
from distmatch.cli.endpoints import add_endpoint_options


def command_parser() -> argparse.ArgumentParser:
    """Of all commands."""
    parser = argparse.ArgumentParser(
        prog="distmatch",
        description="Fine-tune language models until their distribution over given words "
        "has given probabilities.",
    )
    parser.add_argument("--version", action="version", version=f"distmatch {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_sweep(commands)
    _add_eval(commands)
    _add_compare(commands)
    _add_report(commands)
    _add_data(commands)
    _add_experiment(commands)
    _add_apart(commands)
    return parser


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train as a run file says, and measure before and after",
        description="Train as a run file says, measure before and after on its test examples "
        "and suites, and leave the adapter, metrics.json and figures in train.output_dir.",
    )
    train.add_argument("run_file", metavar="RUN.toml", help="see docs/run-files.md")
    _add_overrides(train)
    train.add_argument(
        "--resume", action="store_true", help="go on with the run in train.output_dir"
    )


def _add_overrides(parser: Any) -> None:
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="section.key=value",
        help="instead of what the file says, as in train.learning_rate=2e-3",
    )


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="train an adapter for each of many places, and report which layers learned it",
        description="Train an adapter a cell of sites, blocks and seeds, all from the same base "
        "on the same data, and leave results, adapters and a report in train.output_dir. Started "
        "again, it goes on; several may work on one folder.",
    )
    sweep.add_argument("run_file", nargs="?", metavar="RUN.toml", help="see docs/layer-sweep.md")
    _add_overrides(sweep)
    sweep.add_argument(
        "--report", metavar="DIR", help="only print and draw what is finished in a sweep's folder"
    )
    _add_workers(sweep)


def _add_eval(commands: Any) -> None:
    measure = commands.add_parser(
        "eval",
        help="measure a model, with or without an adapter",
        description="Measure a model: print every metric, and with --out leave report.json, "
        "rows.jsonl and a figure there, in a folder a suite; examples of yours are one.",
    )
    measure.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="smollm2-135m, a directory, a GGUF file or a hub id",
    )
    measure.add_argument(
        "--models",
        metavar="FILE",
        help="a list of models instead, such as examples/models.toml: measured one after the other",
    )
    measure.add_argument("--adapter", metavar="DIR", help="a PEFT adapter to measure it with")
    measure.add_argument(
        "--other-base",
        action="store_true",
        help="take the adapter on another base than it was trained on",
    )
    asked = measure.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--data",
        metavar="FILE",
        help="examples as JSONL, or a run file (.toml) for its test examples",
    )
    asked.add_argument(
        "--suite",
        nargs="+",
        metavar="NAME",
        help="given, numbers, ordinary, ..., and settings such as given.per_group=10: see "
        "docs/suites.md",
    )
    _add_loading(measure)
    measure.add_argument("--seed", type=int, help="of what suites draw (0)")
    measure.add_argument(
        "--precision", metavar="NAME", help="bfloat16 or float16: as in mixed training (its own)"
    )
    measure.add_argument("--batch-size", type=int, help="prompts a forward (32)")
    measure.add_argument("--out", metavar="DIR", help="where the report goes")
    add_endpoint_options(measure)


def _add_loading(parser: Any) -> None:
    """How a model is loaded."""
    parser.add_argument(
        "--no-template",
        action="store_true",
        help="leave the chat template aside, as of a base model",
    )
    parser.add_argument("--quantization", metavar="NAME", help="nf4, mxfp4 or mxfp4+nf4: 4 bit")
    parser.add_argument("--dtype", metavar="NAME", help="of what isn't packed (checkpoint's)")


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        help="how measured models differ",
        description="Print how later measurements differ from the first, on the same items, with "
        "intervals; with --out draw them side by side there. Of one folder: how a suite's ways of "
        "asking differ, such as thinking or not. Of experiments: their verdicts, with p-values "
        "corrected for how many are read together.",
    )
    compare.add_argument(
        "folders", nargs="+", metavar="DIR", help="as eval or experiment --out left them"
    )
    compare.add_argument("--out", metavar="DIR", help="where table and figures go")


def _add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="write report.html of what lies in a folder",
        description="Write report.html, one file with all that a folder's reports say, as the "
        "command that left the folder does. Loads no model.",
    )
    report.add_argument(
        "folder", metavar="DIR", help="as train, eval, sweep, experiment or apart left it"
    )


def _add_data(commands: Any) -> None:
    data = commands.add_parser(
        "data",
        help="write a task's examples",
        description="Write a task's examples: train.jsonl and test.jsonl. Options left out have "
        "the task's own defaults.",
    )
    data.add_argument(
        "task",
        metavar="TASK",
        help="output_control, broad_control, numbers, sequence, suppression or deviation",
    )
    data.add_argument("--out", required=True, metavar="DIR", help="where the two files go")
    data.add_argument("--n", type=int, help="number of train rows (2000)")
    data.add_argument("--n-test", type=int, help="number of test rows (200)")
    data.add_argument("--seed", type=int, help="decides everything drawn (0)")
    data.add_argument("--words", type=int, nargs="+", help="words in a prompt (2 3)")
    data.add_argument(
        "--hold-out",
        nargs="*",
        metavar="AXIS",
        help="what test rows share with no train row: words, targets, wordings, phrasings; "
        "nothing for none (words)",
    )
    data.add_argument("--phrasings", nargs="+", help="ways to write the numbers (percent)")
    data.add_argument("--wordings", nargs="+", help="prompts to draw from (all)")
    data.add_argument(
        "--pool", nargs="+", help="a class of words such as colours, or the words (common)"
    )
    data.add_argument("--kinds", nargs="+", help="of numbers (coin, die, ...) or sequence (all)")
    data.add_argument("--system", help='the system message; "" for none')
    data.add_argument("--test-branches", help="of broad_control's test rows (trained)")


def _add_experiment(commands: Any) -> None:
    experiment = commands.add_parser(
        "experiment",
        help="what narrow training does to what a model knows of itself",
        description="Train the adapters of an experiment, ask every arm its probes, and say what "
        "the rule says that was written before. Started again, it goes on.",
    )
    experiment.add_argument("what", metavar="NAME|FILE.toml", help="see docs/experiments.md")
    experiment.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings, as in adapters=8; of a file's experiment.steps=10",
    )
    experiment.add_argument(
        "--model",
        default="smollm2-135m",
        metavar="MODEL",
        help="smollm2-135m (which it is if none is named), a directory, a GGUF file or a hub id",
    )
    _add_loading(experiment)
    experiment.add_argument("--quick", action="store_true", help="fewer of all, to try it")
    experiment.add_argument(
        "--arms",
        type=_listed,
        default=(),
        metavar="ARM,...",
        help="only these now; told,base trains nothing, and says whether the probe is blind",
    )
    experiment.add_argument("--batch-size", type=int, help="prompts a forward (32)")
    experiment.add_argument("--out", metavar="DIR", help="where all of it goes (runs/NAME-full)")
    experiment.add_argument(
        "--dry-run",
        action="store_true",
        help="print the rule, every prompt, and a step's memory",
    )
    experiment.add_argument(
        "--places",
        type=_listed,
        metavar="SITE,...",
        help="also in one place each: attention,mlp, for maps of behaviour and its report",
    )
    experiment.add_argument(
        "--blocks",
        type=_listed,
        default=["every-6"],
        metavar="BLOCKS",
        help="of these blocks, one each (every-6)",
    )
    experiment.add_argument("--place-rate", type=float, help="learning rate of single places")
    _add_workers(experiment)


def _add_workers(command: Any) -> None:
    command.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes at work on it, each with its share of the cores (1)",
    )


def _add_apart(commands: Any) -> None:
    apart = commands.add_parser(
        "apart",
        help="what each block of a trained adapter does",
        description="Measure an adapter with each place kept alone, with each left out, and as a "
        "whole by factors, without training. Started again, it goes on.",
    )
    apart.add_argument("model", metavar="MODEL", help="the adapter's base")
    apart.add_argument("--adapter", required=True, metavar="DIR", help="a PEFT adapter")
    apart.add_argument(
        "--data", required=True, metavar="FILE", help="examples as JSONL, or a run file (.toml)"
    )
    apart.add_argument("--out", required=True, metavar="DIR", help="where all of it goes")
    apart.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth block (1)")
    apart.add_argument(
        "--sweep",
        metavar="DIR",
        help="a finished sweep, whose control of blocks trained alone is drawn beside",
    )
    _add_loading(apart)


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",")]
