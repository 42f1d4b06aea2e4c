"""What a run leaves behind: metrics and figures."""

import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distmatch import plots
from distmatch.evals.report import Report
from distmatch.files import write_json
from distmatch.plots import drawn as draw

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
    write_json(folder / METRICS_FILE, metrics)
    return f"{told}\nwrote {folder / METRICS_FILE}"


def peak_rss_gb() -> float:
    """The most memory this process has held, in 1e9 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
