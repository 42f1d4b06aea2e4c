"""What a run leaves behind: metrics, figures, and reports that can be read back."""

import json
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distmatch import plots
from distmatch.errors import DataError, MissingExtraError
from distmatch.evals.report import Interval, Measurements, Report

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


def saved_report(path: Path) -> Report:
    """A report as `Report.save` wrote it, with all that tables, figures and rows need.

    It can't be split by metadata any more: only three metrics are saved for each example.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = content["examples"]
    width = max(len(row["words"]) for row in rows)

    def array(name: str, fill: float) -> np.ndarray:
        lists = [[np.nan if x is None else x for x in row[name]] for row in rows]
        return np.array([values + [fill] * (width - len(values)) for values in lists], dtype=float)

    def support(name: str) -> np.ndarray:
        other = np.array([row[f"{name}_other"] for row in rows], dtype=float)
        return np.concatenate([array(name, 0.0), other[:, None]], axis=1)

    measurements = Measurements(
        words=tuple(tuple(row["words"]) for row in rows),
        metadata=tuple(row["metadata"] for row in rows),
        asked=array("asked_over_words", np.nan),
        given=array("given_over_words", np.nan),
        target=support("asked"),
        probs=support("given"),
        other=np.array([row["given_other"] for row in rows], dtype=float),
        ratios={name: _ratio(rows, name) for name in ("tvd", "control_tvd", "swap_gap")},
    )
    metrics = {
        name: Interval(*(np.nan if part is None else part for part in interval.values()))
        for name, interval in content["metrics"].items()
    }
    return Report(metrics, measurements, content["num_resamples"], content["seed"])


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


def _ratio(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=float)
    return np.nan_to_num(values), np.isfinite(values).astype(float)
