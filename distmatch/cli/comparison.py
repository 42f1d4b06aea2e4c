"""`distmatch compare`: how measured models differ."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from distmatch.cli.reporting import left_page
from distmatch.errors import ConfigError, DataError, listed
from distmatch.evals.comparison import (
    difference_table,
    group_difference_table,
    on_shared_items,
    ways_apart,
)
from distmatch.evals.page import comparison_page
from distmatch.evals.report import Report
from distmatch.evals.store import REPORT_FILE
from distmatch.experiments.page import together_page
from distmatch.experiments.together import is_experiment, read_together, together_table
from distmatch.files import check_folder, write_text
from distmatch.runs.figures import group_figure

_COMPARISON_FILE = "comparison.txt"


def compare_folders(folders: Sequence[str | Path], out: str | Path | None = None) -> None:
    """Print how later runs differ from the first, suite by suite, and draw them side by side.

    Of one folder, suites that ask the same in several ways: how later ways differ from the first.
    Of experiments their verdicts, read together.

    Args:
        folders: As `distmatch eval --out` or `distmatch experiment --out` leaves them.
        out: Where comparison.txt and a figure of each suite go; None: tables are only printed.

    Raises:
        DistmatchError: One folder without reports, one given twice, or no suite to compare.
    """
    if out is not None:
        check_folder(out, "--out")
    paths = [Path(folder) for folder in folders]
    places = [path.resolve() for path in paths]
    if twice := [
        path for path, place in zip(paths, places, strict=True) if places.count(place) > 1
    ]:
        raise ConfigError(
            f"{twice[0]} is given twice, and a model doesn't differ from itself: give another "
            "folder, or one alone to compare its ways of asking"
        )
    if any(map(is_experiment, paths)):
        verdicts = read_together(paths)
        table = together_table(verdicts)
        print(table)
        if out is not None:
            write_text(Path(out) / _COMPARISON_FILE, f"{table}\n")
            print(left_page(out, lambda: together_page(out, verdicts)))
        return
    are_told_apart = len({path.name for path in paths}) == len(paths)
    found = {path.name if are_told_apart else str(path): kept_reports(path) for path in paths}
    compared = _ways(*found.values()) if len(found) == 1 else _side_by_side(found)
    told = []
    for name, reports in compared.items():
        tables = (difference_table(reports), group_difference_table(reports))
        told.append(f"{name}\n" + "".join(f"{table}\n" for table in tables if table))
        print(told[-1])
        if out is not None:
            print(group_figure(reports, Path(out) / f"{name.partition(',')[0]}.png"))
    if out is not None:
        write_text(Path(out) / _COMPARISON_FILE, "\n".join(told))
        print(left_page(out, lambda: comparison_page(out, compared)))


def _ways(kept: Mapping[str, Path]) -> dict[str, dict[str, Report]]:
    """Of suites that ask the same in several ways a report a way."""
    compared = {}
    for name, path in kept.items():
        report = Report.load(path)
        with suppress(DataError):  # of the suites that ask something else in each group
            compared[name] = ways_apart(report)
    if not compared:
        raise ConfigError(
            f"a comparison needs two folders or more, or one with a suite that asks the same in "
            f"several ways, such as thinking; this one has {listed(kept)}"
        )
    return compared


def _side_by_side(found: Mapping[str, Mapping[str, Path]]) -> dict[str, dict[str, Report]]:
    """Of the suites that were measured in all folders a report a folder, of the same items."""
    first, *others = found.values()
    shared = [name for name in first if all(name in other for other in others)]
    if not shared:
        have = "; ".join(f"{folder}: {listed(kept)}" for folder, kept in found.items())
        raise ConfigError(f"no suite was measured in all folders ({have})")
    compared = {}
    for name in shared:
        reports = {folder: Report.load(kept[name]) for folder, kept in found.items()}
        asked = max(report.num_examples for report in reports.values())
        try:
            reports = on_shared_items(reports)
        except DataError as error:
            print(f"{name}: {error}\n")
            continue
        num = next(iter(reports.values())).num_examples
        of = "" if num == asked else f", the {num} of {asked} items that all were asked"
        compared[name + of] = reports
    if not compared:
        raise ConfigError("nothing to compare: the folders' suites asked different items")
    return compared


def kept_reports(folder: Path) -> dict[str, Path]:
    """The reports of a folder by suite; one that lies in the folder itself under "examples"."""
    found = {path.parent.name: path for path in sorted(folder.glob(f"*/{REPORT_FILE}"))}
    if (folder / REPORT_FILE).exists():  # as earlier versions left examples
        found.setdefault("examples", folder / REPORT_FILE)
    if not found:
        raise DataError(f"{folder} holds no {REPORT_FILE}: measure with --out {folder} first")
    return found
