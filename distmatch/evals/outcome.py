"""What a run leaves behind: metrics and figures."""

import json
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distmatch import plots
from distmatch.errors import DataError, MissingExtraError
from distmatch.evals.report import Report

METRICS_FILE = "metrics.json"


def save_comparison(
    folder: str | Path,
    before: Report,
    after: Report,
    *,
    seconds: float,
    history: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Write figures and, last, `metrics.json`; the text says what was written and what wasn't.

    Args:
        folder: Where they go.
        before: Of the model as it was.
        after: Of the trained model, on the same examples.
        seconds: How long it took.
        history: What training logged, `trainer.state.log_history`, for the learning curve.
    """
    folder = Path(folder)
    reports = {"before": before, "after": after}
    told = draw(folder / "calibration.png", lambda path: plots.calibration(reports, path))
    if history:
        curve = folder / "learning_curve.png"
        told += "\n" + draw(curve, lambda path: plots.learning_curve(history, path))
    metrics = {
        **{name: report.to_json()["metrics"] for name, report in reports.items()},
        "num_examples": after.num_examples,
        "seconds": seconds,
        "peak_rss_gb": peak_rss_gb(),
    }
    write_text(folder / METRICS_FILE, json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return f"{told}\nwrote {folder / METRICS_FILE}"


def draw(path: Path, figure: Callable[[Path], Any]) -> str:
    """Draw a figure, and say that it was written, or why it can't be."""
    try:
        figure(path)
    except (MissingExtraError, DataError) as error:
        return f"{path} was not drawn: {error}"
    return f"wrote {path}"


def write_text(path: Path, text: str) -> None:
    """Write a file, replacing it only when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def peak_rss_gb() -> float:
    """The most memory this process has held, in 1e9 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
