"""What adapters report of themselves, against what they do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distmatch.errors import DataError
from distmatch.plots.style import GREY, SERIES, drawn_figure

if TYPE_CHECKING:
    import matplotlib.figure

Points = Sequence[tuple[float, float]]


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
