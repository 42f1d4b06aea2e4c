"""Given against asked probabilities."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from distmatch.errors import DataError
from distmatch.plots.style import BLUE, INK, ORANGE, PURPLE, drawn_figure, error_bars, write_above

if TYPE_CHECKING:
    import matplotlib.figure


@runtime_checkable
class AskedAndGiven(Protocol):
    """What `calibration` draws, such as a `Calibration` of `distmatch.measuring`."""

    @property
    def asked(self) -> Float[np.ndarray, "examples words"]:
        """Asked probabilities, renormalised over the words; NaN where there is no word."""

    @property
    def given(self) -> Float[np.ndarray, "examples words"]:
        """What the model gives, likewise."""

    @property
    def bins(self) -> Float[np.ndarray, "bins 4"]:
        """Of each bin: mean asked, mean given, lower and upper end of the latter's interval."""

    @property
    def slope(self) -> float:
        """Of given on asked; NaN isn't written."""

    @property
    def control_tvd(self) -> float:
        """Mean TVD over the words."""

    @property
    def other(self) -> float | None:
        """Mean probability of none of the words; None isn't written."""


@runtime_checkable
class Calibrated(Protocol):
    """Whatever has that, such as an evaluation report."""

    def calibration(self) -> AskedAndGiven:
        """What is drawn of it."""


def calibration(
    answers: Calibrated | AskedAndGiven | Mapping[str, Calibrated | AskedAndGiven],
    path: str | Path | None = None,
) -> "matplotlib.figure.Figure":
    """Given against asked probability of every word, renormalised over the words.

    On the diagonal the model does as asked; on a dotted line, at 1/K for K words, it ignores the
    numbers. Points with bars are means of bins with their intervals, a report's from the resamples
    of its table. The numbers above are the slope of given on asked, the TVD over the words, and the
    probability of other.

    Args:
        answers: Of one model; or of several, such as "before" and "after", drawn side by side. A
            report, or of plain arrays a `distmatch.measuring.calibration.Calibration`.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    panels = dict(answers) if isinstance(answers, Mapping) else {"": answers}
    if not panels:
        raise DataError("there are no answers to draw: give at least one report")
    with drawn_figure(4.2 * len(panels) + 0.4, 5.2, path) as figure:
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for axis, (name, panel) in zip(axes, panels.items(), strict=True):
            known = panel.calibration() if isinstance(panel, Calibrated) else panel
            _draw_panel(axis, name, known)
        axes[0].set_ylabel("given probability")
        handles, labels = axes[0].get_legend_handles_labels()
        columns = 2 if len(panels) == 1 else len(labels)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _draw_panel(axis: Any, name: str, known: AskedAndGiven) -> None:
    is_drawn = np.isfinite(known.asked) & np.isfinite(known.given)
    if not is_drawn.any():
        of = f' of "{name}"' if name else ""
        raise DataError(f"no example{of} has two words, so there is no control to draw")
    axis.plot([0, 1], [0, 1], color=INK, lw=1.2, label="as asked")
    _draw_ignored(axis, sorted(set(is_drawn.sum(1).tolist()) - {0}))
    size = float(np.clip(600 / is_drawn.sum() ** 0.5, 5, 26))
    look = {"color": BLUE, "alpha": 0.3, "lw": 0, "label": "a word"}
    axis.scatter(known.asked[is_drawn], known.given[is_drawn], s=size, **look)
    _draw_bins(axis, known.bins)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.set_xlabel("asked probability")
    # The name, where there is one, stands above the numbers.
    axis.set_title(name or " ", fontsize=11, fontweight="bold", pad=22)
    write_above(axis, calibration_summary(known), xytext=(0, 7), fontsize=9.5)


def _draw_ignored(axis: Any, counts: Sequence[int]) -> None:
    """Lines where a model stands that ignores the numbers of so many words."""
    for number, count in enumerate(counts):
        label = "numbers ignored: 1/K" if number == 0 else None
        axis.axhline(1 / count, color=PURPLE, lw=1.3, ls=(0, (1, 2)), label=label)
        axis.annotate(
            f"1/{count}",
            (1, 1 / count),
            xycoords=axis.get_yaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=PURPLE,
        )


def _draw_bins(axis: Any, bins: Float[np.ndarray, "bins 4"]) -> None:
    asked, given, low, high = bins.T
    axis.errorbar(
        asked,
        given,
        yerr=error_bars(given, low, high),
        fmt="o",
        color=ORANGE,
        markersize=6,
        markeredgecolor="white",
        elinewidth=1.8,
        zorder=4,
        label="mean, 95 %",
    )


def calibration_summary(known: AskedAndGiven) -> str:
    """What stands above a calibration: slope, control TVD and other, as far as they are known."""
    parts = [f"slope {known.slope:.2f}"] if np.isfinite(known.slope) else []
    parts.append(f"control TVD {known.control_tvd:.3f}")
    if known.other is not None:
        parts.append(f"other {known.other:.3f}")
    return "  ·  ".join(parts)
