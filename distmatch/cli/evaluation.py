"""`distmatch eval`: each suite is printed, drawn and kept as soon as it is done."""

import json
from collections.abc import Sequence
from pathlib import Path

from distmatch.cli.run_files import read_data_section
from distmatch.cli.sources import section_examples
from distmatch.data import Example, read_jsonl
from distmatch.evals.report import Report
from distmatch.evals.store import Source, measure_all
from distmatch.evals.suite import Suite
from distmatch.evals.suites import OwnExamples
from distmatch.files import write_text
from distmatch.runs.figures import calibration_figure, group_figure


def evaluate_source(
    source: Source, suites: Sequence[Suite], out: str | Path | None = None
) -> dict[str, Report]:
    """Print each suite's report; leave it in a folder of its name.

    Started again with the same settings, it goes on with the suites that aren't done.

    Args:
        source: Who is asked.
        suites: What.
        out: Where the folders go; None: tables are only printed.

    Returns:
        The reports by suite.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known.
    """
    reports = {}
    for suite, report, was_there in measure_all(source, suites, out):
        print(f"{suite.name}{', measured before' if was_there else ''}\n{_table(report)}\n")
        if out is not None:
            print(_leave(report, Path(out) / suite.name))
        reports[suite.name] = report
    return reports


def test_examples(path: str | Path) -> OwnExamples:
    """The examples of `--data`: of a JSONL file, or the test examples of a run file.

    Raises:
        DistmatchError: They can't be read.
    """
    path = Path(path)
    rows: list[Example]
    if path.suffix == ".toml":
        rows = section_examples(read_data_section(path))[1]
    else:
        rows = read_jsonl(path)
    return OwnExamples(rows=rows)


def _table(report: Report) -> str:
    return report.group_table() if report.groups() else report.table()


def _leave(report: Report, folder: Path) -> str:
    """Write what the report can be read by; the text says what was written."""
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in report.rows())
    write_text(folder / "rows.jsonl", rows)
    if report.groups():
        figure = group_figure({"": report}, folder / "groups.png")
    else:
        figure = calibration_figure(report, folder / "calibration.png")
    return f"{figure}\nin {folder}\n"
