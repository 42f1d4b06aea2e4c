"""The command line: `distmatch train | sweep | eval | compare | report | experiment | ...`.

Nothing heavy is imported before a command is known to be well-formed, so `--help` is instant.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distmatch.cli.endpoints import chosen_endpoint
from distmatch.cli.parser import command_parser
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
    "apart": "started again, it goes on",
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
    parser = command_parser()
    args, rest = parser.parse_known_args(argv)
    # argparse leaves out the overrides that stand behind an option
    stray = [item for item in rest if item.startswith("-") or args.command not in _WITH_OVERRIDES]
    if stray:
        parser.error(f"unrecognized arguments: {' '.join(stray)}")
    try:
        _run(args, rest, sys.argv[1:] if argv is None else argv)
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


def _run(args: argparse.Namespace, rest: list[str], told: Sequence[str]) -> None:
    if args.command == "train":
        from distmatch.cli.training import train

        train(args.run_file, [*args.overrides, *rest], resume=args.resume)
    elif args.command == "sweep":
        _sweep(args, rest, told)
    elif args.command == "eval":
        _evaluate(args)
    elif args.command == "compare":
        from distmatch.cli.comparison import compare_folders

        compare_folders(args.folders, args.out)
    elif args.command == "report":
        from distmatch.cli.pages import write_page

        write_page(args.folder)
    elif args.command == "experiment":
        _experiment(args, rest, told)
    elif args.command == "apart":
        from distmatch.cli.anatomy import show_apart

        show_apart(_choice(args), args)
    else:
        from distmatch.cli.sources import write_data

        write_data(_given_settings(args), args.out)


def _sweep(args: argparse.Namespace, rest: list[str], told: Sequence[str]) -> None:
    if (args.run_file is None) == (args.report is None):
        raise ConfigError("give either a run file, or --report DIR for what is finished there")
    from distmatch.cli.sweeping import run_sweep, show_sweep

    if args.report is None:
        workers = _workers(args.workers, told)
        run_sweep(args.run_file, [*args.overrides, *rest], workers=workers)
    else:
        show_sweep(args.report)


def _experiment(args: argparse.Namespace, rest: list[str], told: Sequence[str]) -> None:
    _check_batch_size(args)
    if args.places and (args.dry_run or args.arms):
        raise ConfigError("--places carries out the whole: leave out --dry-run and --arms")
    from distmatch.cli import experimenting

    size = "quick" if args.quick else "full"
    experiment = experimenting.chosen_experiment(args.what, [*args.overrides, *rest], size=size)
    out = Path(args.out or Path("runs", f"{experiment.name}-{'places' if args.places else size}"))
    workers = _workers(args.workers, told)
    if args.dry_run:
        experimenting.show_prompts(experiment, _choice(args))
    elif args.places:
        from distmatch.sweeps import Grid

        experimenting.map_places(
            experiment,
            _choice(args),
            out,
            Grid(sites=args.places, blocks=args.blocks),
            learning_rate=args.place_rate,
            batch_size=args.batch_size or _BATCH_SIZE,
            workers=workers,
        )
    else:
        experimenting.perform_experiment(
            experiment,
            _choice(args),
            out,
            arms=args.arms,
            batch_size=args.batch_size or _BATCH_SIZE,
            workers=workers,
        )


def _workers(num: int, told: Sequence[str]) -> Callable[[Path], None] | None:
    """What lets several processes carry out the command that was told, if there are to be some."""
    from distmatch.cli.workers import check_workers, run_workers

    check_workers(num)
    return partial(run_workers, [*told, "--workers", "1"], num) if num > 1 else None


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
