"""How a training run went."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from distmatch.errors import DataError
from distmatch.plots.style import BLUE, GREEN, GREY, INK, ORANGE, drawn_figure

if TYPE_CHECKING:
    import matplotlib.figure

_CURVES = {
    "loss": ("loss", INK, None),
    "tvd": ("TVD", BLUE, None),
    "slope": ("slope, given on asked", GREEN, 1.0),
    "other": ("other", ORANGE, None),
}
"""What `learning_curve` draws: a label, a colour, and where perfect is if that is not 0."""


def learning_curve(
    history: Sequence[Mapping[str, Any]], path: str | Path | None = None
) -> "matplotlib.figure.Figure":
    """Loss, TVD, slope and other over the steps of a training run; a panel for each that is there.

    Titles show the last value.

    Args:
        history: What was logged, such as `trainer.state.log_history`: dicts with "step" and some
            of "loss", "tvd", "slope", "other" (thin line: training batches) and the same with
            "eval_" (thick line with points). Other entries are passed over.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    series = {name: _series(history, name) for name in _CURVES}
    series |= {f"eval_{name}": _series(history, f"eval_{name}") for name in _CURVES}
    present = [name for name in _CURVES if len(series[name]) or len(series[f"eval_{name}"])]
    if not present:
        raise DataError(f"the history logs none of {list(series)}: nothing to draw")
    with drawn_figure(3.4 * len(present), 3.2, path) as figure:
        axes = figure.subplots(1, len(present), sharex=True, squeeze=False)[0]
        for axis, name in zip(axes, present, strict=True):
            _draw_curve(axis, name, series[name], series[f"eval_{name}"])
        both = [axis for axis in axes if len(axis.get_legend_handles_labels()[1]) == 2]
        if both:
            both[0].legend()
    return figure


def _series(history: Sequence[Mapping[str, Any]], name: str) -> Float[np.ndarray, "points 2"]:
    """Steps and finite values of one key; of several at one step the last."""
    points = {entry["step"]: entry[name] for entry in history if name in entry and "step" in entry}
    rows = [[step, value] for step, value in sorted(points.items()) if value is not None]
    array = np.array(rows, dtype=float).reshape(-1, 2)
    return array[np.isfinite(array[:, 1])]


def _draw_curve(axis: Any, name: str, trained: np.ndarray, evaluated: np.ndarray) -> None:
    label, colour, perfect = _CURVES[name]
    if perfect is not None:
        _draw_perfect(axis, perfect)
    if len(trained):
        alone = not len(evaluated)
        width, alpha = (1.6, 1.0) if alone else (0.9, 0.55)
        marker = "o" if len(trained) == 1 else None  # of which a line shows nothing
        axis.plot(*trained.T, color=colour, lw=width, alpha=alpha, marker=marker, label="train")
    if len(evaluated):
        axis.plot(*evaluated.T, color=colour, lw=1.8, marker="o", ms=4, label="eval")
    last = (evaluated if len(evaluated) else trained)[-1, 1]
    axis.set_title(f"{last:.3f}", fontsize=10, loc="right", color=colour, fontweight="bold")
    axis.set_title(label, fontsize=10)
    axis.set_xlabel("step")
    low, high = axis.get_ylim()
    axis.set_ylim(min(0, low), max(high, 1.15 * (perfect or 0)))
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _draw_perfect(axis: Any, value: float) -> None:
    axis.axhline(value, color=GREY, lw=1, ls=(0, (4, 3)))
    axis.annotate(
        "perfect",
        (0.02, value),
        xycoords=axis.get_yaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=8,
        color=GREY,
    )
