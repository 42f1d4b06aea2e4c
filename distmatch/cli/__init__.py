"""The command line: `distmatch train | sweep | eval | compare | data | experiment`.

Nothing heavy is imported before a command is known to be well-formed, so `--help` is instant.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distmatch import __version__
from distmatch.cli.endpoints import add_endpoint_options, chosen_endpoint
from distmatch.errors import ConfigError, DistmatchError

if TYPE_CHECKING:
    from distmatch.evals.store import Source
    from distmatch.models.choice import ModelChoice

__all__ = ["main"]

_BATCH_SIZE = 32
_WITH_OVERRIDES = ("train", "sweep", "experiment")
_INTERRUPTED, _UNREAD = 130, 141
_AGAIN = "start it again"
_GO_ON = {
    "train": "go on with --resume, or start again if nothing was measured yet",
    "sweep": "started again, it goes on",
    "experiment": "started again, it goes on",
    "eval": "started again with the same --out, it goes on with what isn't measured",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments; None: the process's own.

    Returns:
        The exit code: 0; 2 where something was refused, with the reason on stderr; 130 after
        Ctrl-C; 141 where nobody reads on, as behind `| head`.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    # argparse leaves out the overrides that stand behind an option
    stray = [item for item in rest if item.startswith("-") or args.command not in _WITH_OVERRIDES]
    if stray:
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    try:
        _run(args, rest)
        sys.stdout.flush()
    except DistmatchError as error:
        print(f"distmatch: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ndistmatch: stopped; {_go_on(args)}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # flushed as Python ends
        return _UNREAD
    return 0


def _go_on(args: argparse.Namespace) -> str:
    keeps_nothing = args.command == "eval" and args.out is None
    return _AGAIN if keeps_nothing else _GO_ON.get(args.command, _AGAIN)


def _run(args: argparse.Namespace, rest: list[str]) -> None:
    if args.command == "train":
        from distmatch.cli.training import train

        train(args.run_file, [*args.overrides, *rest], resume=args.resume)
    elif args.command == "sweep":
        _sweep(args, rest)
    elif args.command == "eval":
        _evaluate(args)
    elif args.command == "compare":
        from distmatch.cli.comparison import compare_folders

        compare_folders(args.folders, args.out)
    elif args.command == "experiment":
        _experiment(args, rest)
    else:
        from distmatch.cli.sources import write_data

        write_data(_given_settings(args), args.out)


def _sweep(args: argparse.Namespace, rest: list[str]) -> None:
    if (args.run_file is None) == (args.report is None):
        raise ConfigError("give either a run file, or --report DIR for what is finished there")
    from distmatch.cli.sweeping import run_sweep, show_sweep

    if args.report is None:
        run_sweep(args.run_file, [*args.overrides, *rest], workers=args.workers)
    else:
        show_sweep(args.report)


def _experiment(args: argparse.Namespace, rest: list[str]) -> None:
    _check_batch_size(args)
    from distmatch.cli.experimenting import perform_experiment

    perform_experiment(
        args.what,
        _choice(args),
        [*args.overrides, *rest],
        size="quick" if args.quick else "full",
        out=args.out,
        batch_size=args.batch_size or _BATCH_SIZE,
        dry_run=args.dry_run,
    )


def _evaluate(args: argparse.Namespace) -> None:
    if args.models is not None:
        _evaluate_models(args)
        return
    if args.model is None:
        raise ConfigError("no model: name one, or give a list of them with --models FILE")
    _check_batch_size(args)
    from distmatch.cli.evaluation import evaluate_source, own_examples
    from distmatch.cli.suite_settings import listed_suites
    from distmatch.evals.local_source import LocalSource

    choice: ModelChoice | None = None
    source: Source
    if endpoint := chosen_endpoint(args):
        source = endpoint
    else:
        choice = _choice(args)
        source = LocalSource(
            choice=choice,
            adapter=args.adapter,
            other_base=args.other_base,
            batch_size=args.batch_size or _BATCH_SIZE,
            seed=args.seed or 0,
            precision=args.precision,
        )
    suites = listed_suites(args.suite) if args.data is None else [own_examples(args.data, choice)]
    evaluate_source(source, suites, args.out)


def _choice(args: argparse.Namespace) -> "ModelChoice":
    from distmatch.models.choice import ModelChoice

    return ModelChoice(
        name=args.model,
        quantization=args.quantization,
        dtype=args.dtype,
        template=not args.no_template,
    )


def _check_batch_size(args: argparse.Namespace) -> None:
    if args.batch_size is not None and args.batch_size < 1:
        raise ConfigError(f"--batch-size is {args.batch_size}, expected at least 1")


def _evaluate_models(args: argparse.Namespace) -> None:
    from distmatch.cli.model_lists import evaluate_list
    from distmatch.cli.suite_settings import listed_suites

    chosen_endpoint(args)
    of_one = ("model", "adapter", "data", "quantization", "dtype", "precision", "endpoint")
    given = [name for name in of_one if getattr(args, name) is not None]
    given += [name for name in ("other_base", "no_template") if getattr(args, name)]
    if given:
        told = given[0]
        raise ConfigError(f"{told} is of one model: leave it out, the list has its own")
    if args.out is None:
        raise ConfigError("--models needs --out, where every model has a folder")
    _check_batch_size(args)
    evaluate_list(
        args.models,
        listed_suites(args.suite),
        out=args.out,
        batch_size=args.batch_size or _BATCH_SIZE,
        seed=args.seed or 0,
    )


def _given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says about a task, without what it leaves out."""
    settings = {name: value for name, value in vars(args).items() if value is not None}
    return {name: value for name, value in settings.items() if name not in ("command", "out")}


def _parser() -> argparse.ArgumentParser:
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
    _add_data(commands)
    _add_experiment(commands)
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
    sweep.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes at work on it, each with its share of the cores (1)",
    )


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
    experiment.add_argument("--batch-size", type=int, help="prompts a forward (32)")
    experiment.add_argument("--out", metavar="DIR", help="where all of it goes (runs/NAME-full)")
    experiment.add_argument(
        "--dry-run", action="store_true", help="print every prompt and what a step takes"
    )
