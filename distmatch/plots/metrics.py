"""One metric of groups of examples, of one model or several."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distmatch.errors import DataError
from distmatch.plots.style import PURPLE, SERIES, drawn_figure, error_bars

if TYPE_CHECKING:
    import matplotlib.figure

_POLICY = "best fixed answer"


def groups(
    series: Mapping[str, Mapping[str, Sequence[float]]],
    label: str,
    *,
    marks: Mapping[str, float] | None = None,
    path: str | Path | None = None,
) -> "matplotlib.figure.Figure":
    """One metric of groups of examples, of one model or several: dots with their intervals.

    Args:
        series: By model and group: mean, lower and upper end of the interval. NaN isn't drawn.
        label: What the metric is called.
        marks: By group, a value to hold them against, such as of the best policy that ignores
            the numbers.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    names = list(dict.fromkeys(group for values in series.values() for group in values))
    if not names:
        raise DataError("there are no groups to draw: give at least one report")
    height = 1.3 + (0.14 + 0.14 * len(series)) * len(names)
    with drawn_figure(6.4, height, path) as figure:
        axis = figure.subplots()
        spread = 0.6 / len(series)
        for number, (model, values) in enumerate(series.items()):
            shift = (number - (len(series) - 1) / 2) * spread
            heights = {name: place + shift for place, name in enumerate(names)}
            _draw_dots(axis, model, values, heights, SERIES[number % len(SERIES)])
        if marks:
            marked = [marks.get(name, np.nan) for name in names]
            axis.scatter(marked, range(len(names)), marker="|", s=160, color=PURPLE, label=_POLICY)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlabel(label)
        if len(series) > 1 or marks:
            figure.legend(loc="outside lower center", ncols=4)
    return figure


def _draw_dots(
    axis: Any,
    model: str,
    values: Mapping[str, Sequence[float]],
    heights: Mapping[str, float],
    colour: str,
) -> None:
    drawn = {name: value for name, value in values.items() if np.isfinite(value[0])}
    mean, low, high = np.array(list(drawn.values()), dtype=float).reshape(-1, 3).T
    look = {"fmt": "o", "color": colour, "markersize": 5, "elinewidth": 1.5, "label": model}
    axis.errorbar(mean, [heights[n] for n in drawn], xerr=error_bars(mean, low, high), **look)
