"""`distmatch apart`: what each block of a trained adapter does."""

import argparse
from pathlib import Path

from distmatch.anatomy import Place, take_apart
from distmatch.anatomy.page import apart_page
from distmatch.cli.evaluation import own_examples
from distmatch.cli.reporting import left_page
from distmatch.models.choice import ModelChoice
from distmatch.sweeps import read_sweep
from distmatch.sweeps.headlines import CONTROL


def show_apart(choice: ModelChoice, args: argparse.Namespace) -> None:
    """Take an adapter apart, and print and draw what came of it.

    Args:
        choice: Its base.
        args: Of the command.

    Raises:
        DistmatchError: What can't be used.
    """
    trained = {} if args.sweep is None else trained_alone(args.sweep)
    rows = own_examples(args.data, choice).examples
    apart = take_apart(choice, args.adapter, rows, args.out, every=args.every)
    print(apart)
    for told in apart.draw(args.out, trained=trained):
        print(told)
    title = Path(args.out).resolve().name
    print(left_page(args.out, lambda: apart_page(title, apart, trained)))


def trained_alone(folder: str) -> dict[Place, float]:
    """Control of a sweep's single blocks above its base's, at their chosen learning rates.

    Args:
        folder: Of the sweep.

    Raises:
        ConfigError: It holds none.
    """
    swept = read_sweep(folder)
    single = [found for found in swept.chosen if found.is_single]
    base = CONTROL.of_base(swept.base.learned)
    return {Place(int(found.blocks), found.site): found.control.mean - base for found in single}
