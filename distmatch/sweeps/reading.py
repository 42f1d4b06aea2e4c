"""What came of a sweep so far: the report of its folder, without a model."""

import json
from dataclasses import dataclass
from pathlib import Path

from distmatch.errors import ConfigError
from distmatch.evals import Report
from distmatch.sweeps.findings import Finding, findings
from distmatch.sweeps.probe import PROBE_FILE, Score
from distmatch.sweeps.records import locked, read_results
from distmatch.sweeps.report import write_report
from distmatch.sweeps.setting import BASE_FOLDER, SETTINGS_FILE

_TEST = "test "


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What came of a sweep."""

    folder: Path
    findings: list[Finding]
    """With most control first."""
    failed: dict[str, str]
    """Why a cell has no finding, by its name."""
    report: str
    """As text."""
    elsewhere: tuple[str, ...] = ()
    """Cells that were left out since other processes are at work on them."""

    def __str__(self) -> str:
        """The report, and what others are at work on."""
        if not self.elsewhere:
            return self.report
        return f"{self.report}\nothers are at work on {', '.join(self.elsewhere)}"


def read_sweep(folder: str | Path) -> Sweep:
    """What came of a sweep so far; its report is written anew.

    Args:
        folder: The sweep's, also of one that is running.

    Raises:
        ConfigError: It holds no sweep, or one that was stopped before its base was measured.
    """
    folder = Path(folder)
    if not (folder / SETTINGS_FILE).is_file():
        raise ConfigError(f"{folder} holds no sweep (no {SETTINGS_FILE}): give a sweep's folder")
    data = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))["data"]
    names = [name.removeprefix(_TEST) for name in data if name.startswith(_TEST)]
    paths = {name: folder / BASE_FOLDER / f"{name}.json" for name in names}
    if missing := [str(path) for path in paths.values() if not path.is_file()]:
        raise ConfigError(f"{missing[0]} isn't there: start the sweep again to measure its base")
    metrics = {name: Report.load(path).to_json()["metrics"] for name, path in paths.items()}
    probed = folder / PROBE_FILE
    scores = json.loads(probed.read_text(encoding="utf-8")) if probed.is_file() else []
    rows, wrong = read_results(folder)
    found = findings(rows.values(), metrics)
    failed = {name: row["failed"] for name, row in rows.items() if "failed" in row}
    if found:
        probed_scores = [Score(**score) for score in scores]
        with locked(folder):
            told = write_report(
                folder / "report", found, metrics, probed_scores, failed=failed, passed_over=wrong
            )
    else:
        told = "\n".join(filter(None, ["no cells yet", missing(failed, wrong)]))
    return Sweep(folder=folder, findings=found, failed=failed, report=told)
