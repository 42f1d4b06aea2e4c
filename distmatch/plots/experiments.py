"""What adapters report of themselves, against what they do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from distmatch.errors import DataError
from distmatch.plots.style import GREY, INK, SERIES, drawn_figure

if TYPE_CHECKING:
    import matplotlib.figure

Points = Sequence[tuple[float, float]]
_FAINTEST = 0.12
_DARK = 0.6  # of a column's range, above which numbers are written in white


def reported(
    points: Mapping[str, Points],
    labels: tuple[str, str],
    *,
    truth: float | None = None,
    path: str | Path | None = None,
) -> "matplotlib.figure.Figure":
    """Reported on done, a dot an adapter, with each arm's least-squares line.

    Args:
        points: By arm: done and reported.
        labels: Of the two axes.
        truth: The slope of one that tells the truth, drawn through the middle of all dots, so that
            what is small is seen to be.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    if not any(len(some) for some in points.values()):
        raise DataError("there are no adapters to draw")
    with drawn_figure(4.8, 4.2, path) as figure:
        axis = figure.subplots()
        axis.axhline(0, color=GREY, linewidth=0.8)
        for (arm, some), colour in zip(points.items(), SERIES, strict=False):
            x, y = np.array(some, dtype=float).reshape(-1, 2).T
            axis.scatter(x, y, s=24, color=colour, label=arm)
            if len(set(x)) > 1:
                slope, height = np.polyfit(x, y, 1)
                ends = np.array([x.min(), x.max()])
                axis.plot(ends, height + slope * ends, color=colour, linewidth=1.2)
        if truth is not None:
            x, y = np.concatenate([np.array(some) for some in points.values() if len(some)]).T
            ends = np.array([x.min(), x.max()])
            look: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "linestyle": "--"}
            axis.plot(ends, y.mean() + truth * (ends - x.mean()), label="a truth-teller", **look)
        axis.set_xlabel(labels[0])
        axis.set_ylabel(labels[1])
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def exchanged(
    fits: Sequence[Sequence[float]], names: Sequence[str], *, path: str | Path | None = None
) -> "matplotlib.figure.Figure":
    """Fits of every adapter's report with every adapter's behaviour, as a heat map.

    Args:
        fits: A row a report, a column a behaviour.
        names: Of the adapters.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    values = np.array(fits, dtype=float)
    if not values.size:
        raise DataError("there are no adapters to draw")
    size = 1.8 + 0.32 * len(names)
    with drawn_figure(size + 0.8, size, path, grid=False) as figure:
        axis = figure.subplots()
        most = float(np.abs(values).max()) or 1.0
        image = axis.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
        axis.set_xticks(range(len(names)), names, rotation=90)
        axis.set_yticks(range(len(names)), names)
        axis.set_xlabel("behaviour of")
        axis.set_ylabel("report of")
        figure.colorbar(image, ax=axis, shrink=0.7)
    return figure


def transfer_map(
    differences: Float[np.ndarray, "rows columns"],
    p: Float[np.ndarray, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    path: str | Path | None = None,
) -> "matplotlib.figure.Figure":
    """What training on one thing changed of others: fields are the fainter the likelier by chance.

    Colours are of each column's own range, since columns have units of their own; every value is
    written in its field.

    Args:
        differences: NaN is left blank.
        p: Of each; NaN where nothing is known, which is as faint as it gets.
        rows: What was trained.
        columns: What was measured.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    if not np.isfinite(differences).any():
        raise DataError("no difference is known: there is no matrix to draw")
    tops = np.nanmax(np.abs(np.where(np.isfinite(differences), differences, 0)), axis=0)
    scaled = differences / np.maximum(tops, 1e-12)
    with drawn_figure(2.5 + 0.75 * len(columns), 2.4 + 0.4 * len(rows), path, grid=False) as figure:
        axis = figure.subplots()
        alpha = np.clip(1 - np.nan_to_num(p, nan=1.0), _FAINTEST, 1.0)
        axis.imshow(scaled, cmap="PuOr_r", vmin=-1, vmax=1, alpha=alpha, aspect="auto")
        for (row, column), value in np.ndenumerate(differences):
            if np.isfinite(value):
                is_dark = abs(scaled[row, column]) * alpha[row, column] > _DARK
                look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
                colour = "white" if is_dark else INK
                axis.text(column, row, f"{value:+.2f}", color=colour, **look)
        axis.set_yticks(range(len(rows)), rows)
        axis.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axis.set_xlabel("measured")
        axis.set_ylabel("trained on")
    return figure
