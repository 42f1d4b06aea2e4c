"""What a run leaves behind: reports, figures, metrics."""

import json
import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distmatch import plots
from distmatch.errors import DataError
from distmatch.evals import Report, comparison_table
from distmatch.evals.report import comparison_rows
from distmatch.evals.store import REPORT_FILE
from distmatch.evals.suites import OwnExamples
from distmatch.files import write_json
from distmatch.plots import drawn
from distmatch.runs.figures import calibration_figure, group_figure
from distmatch.runs.run import RUN_RECORD

METRICS_FILE = "metrics.json"
HISTORY_FILE = "history.json"
BEFORE, AFTER = "before", "after"
"""The folders of reports, and what their columns are called."""


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What came of a run that is finished."""

    folder: Path
    before: Mapping[str, Report]
    """By suite."""
    after: Mapping[str, Report]
    history: list[dict[str, Any]]
    """What training logged."""

    @classmethod
    def load(cls, folder: str | Path) -> "RunOutcome":
        """The outcome as it was kept in a run's folder.

        Raises:
            DataError: A file is missing, or holds something else.
        """
        folder = Path(folder)
        suites = list(read_kept(folder / RUN_RECORD)["suites"])
        before, after = (
            {name: Report.load(folder / when / name / REPORT_FILE) for name in suites}
            for when in (BEFORE, AFTER)
        )
        history = read_kept(folder / HISTORY_FILE)
        return cls(folder=folder, before=before, after=after, history=history)

    @property
    def suites(self) -> dict[str, dict[str, Report]]:
        """Both reports of each suite."""
        return {
            name: {BEFORE: report, AFTER: self.after[name]} for name, report in self.before.items()
        }

    def tables(self) -> str:
        """Before beside after, a table a suite."""
        return "\n\n".join(
            f"{name}\n{comparison_table(reports)}" for name, reports in self.suites.items()
        )

    def _repr_html_(self) -> str:
        """The tables in a notebook, and the test examples' calibration or what training logged."""
        parts = [
            part for name, some in self.suites.items() for part in (name, comparison_rows(some))
        ]
        own = self.suites.get(OwnExamples.name)
        return plots.notebook_html(
            *parts,
            figure=lambda: plots.calibration(own) if own else plots.learning_curve(self.history),
        )

    def draw(self) -> Iterator[str]:
        """Draw the learning curve and each suite, and say so of each figure.

        Examples of yours are `calibration.png`; a suite with groups is a figure of its name.
        """
        for name, reports in self.suites.items():
            if name == OwnExamples.name:
                yield calibration_figure(reports, self.folder / "calibration.png")
            if reports[AFTER].groups():
                yield group_figure(reports, self.folder / f"{name}.png")
        yield drawn(
            self.folder / "learning_curve.png",
            lambda path: plots.learning_curve(self.history, path),
        )

    def save_metrics(self, seconds: float, trained_on: str) -> str:
        """Write `metrics.json`, by which a run is known to be finished, and say so.

        Args:
            seconds: How long it took.
            trained_on: On what, in words.
        """
        suites = {
            name: {
                **{when: report.to_json()["metrics"] for when, report in reports.items()},
                "num_items": reports[AFTER].num_examples,
            }
            for name, reports in self.suites.items()
        }
        path = self.folder / METRICS_FILE
        took = {"seconds": seconds, "peak_rss_gb": peak_rss_gb()}
        write_json(path, {"suites": suites, "trained_on": trained_on, **took})
        return f"wrote {path}"


def peak_rss_gb() -> float:
    """The most memory this process has held, in 1e9 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def read_kept(path: Path) -> Any:
    """What a file of a run's folder holds.

    Raises:
        DataError: It is missing, or isn't JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}): restore it, or run anew") from error
