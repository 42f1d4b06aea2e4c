"""`distmatch eval`: each suite is printed, drawn and kept as soon as it is done."""

import json
from collections.abc import Sequence
from pathlib import Path

from distmatch.cli.reporting import left_page
from distmatch.cli.run_files import read_data_section
from distmatch.cli.sources import section_examples
from distmatch.data import Example, read_jsonl
from distmatch.errors import ConfigError
from distmatch.evals.local_source import LocalSource
from distmatch.evals.page import ASKED_FILE, suites_page
from distmatch.evals.report import Report
from distmatch.evals.store import REPORT_FILE, Source, measure_all, measuring
from distmatch.evals.suite import Suite
from distmatch.evals.suites import OwnExamples
from distmatch.files import told_if_unwritable, write_text
from distmatch.models.choice import ModelChoice
from distmatch.progress import say, work
from distmatch.runs.encodable import check_encodable
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
    if out is not None and (Path(out) / REPORT_FILE).exists():
        raise ConfigError(
            f"{out} holds a {REPORT_FILE} of its own, as earlier versions left it: choose another "
            "--out"
        )
    reports = {}
    with told_if_unwritable(out or ".", "start again: suites that are measured are kept"):
        with work("measuring", map(measuring, suites), stays=False):
            for suite, report, was_there in measure_all(source, suites, out):
                left = "" if out is None else _leave(report, Path(out) / suite.name)
                if out is not None and isinstance(source, LocalSource):
                    write_text(Path(out) / suite.name / ASKED_FILE, _called(source))
                before = ", measured before" if was_there else ""
                say(f"{suite.name}{before}\n{_table(report)}\n")
                if left:
                    say(left)
                reports[suite.name] = report
        if out is not None:
            print(left_page(out, lambda: suites_page(out, {"": reports})))
    return reports


def _called(source: LocalSource) -> str:
    """What the user calls whom they ask, who are else known by their bytes."""
    adapter = "" if source.adapter is None else f" with the adapter {source.adapter}"
    return f"{source.choice.name}{adapter}"


def own_examples(path: str | Path, choice: ModelChoice | None) -> OwnExamples:
    """The examples of `--data`: of a JSONL file, or the test examples of a run file.

    Args:
        path: The file.
        choice: The model that is to be asked, whose tokenizer has to encode them; None: an
            endpoint, which has none here.

    Raises:
        DistmatchError: They can't be read, or encoded.
    """
    path = Path(path)
    rows: list[Example]
    if path.suffix == ".toml":
        rows = section_examples(read_data_section(path))[1]
    else:
        rows = read_jsonl(path)
    if choice is not None:
        check_encodable(choice, [], {"test": rows})
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
