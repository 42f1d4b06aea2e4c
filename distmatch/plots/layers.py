"""Where in a model something is learned."""

import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from distmatch.errors import DataError
from distmatch.plots.style import GREY, INK, SERIES, drawn_figure, error_bars, write_above

if TYPE_CHECKING:
    import matplotlib.figure

_DARK = 0.6  # of the colours' range, above which numbers are written in white
_FAINT = 0.25  # opacity
_TITLE_COLUMNS = 28  # letters of a map's name in one line
_ROOM = 28  # letters that names of sites may take beside each other
_MOST_RANKED = 30
_STROKES = ("-", "--", ":", "-.")
_DASHES: tuple[Any, ...] = ((0, (1, 2)), (0, (4, 3)), (0, (6, 2, 1, 2)))

Curve = Sequence[tuple[float, ...]]
"""Points: number of blocks, value, lower and upper end of its interval (NaN: none)."""


def layer_maps(
    maps: Mapping[str, Float[np.ndarray, "blocks sites"]],
    blocks: Sequence[int],
    sites: Sequence[str],
    *,
    references: Mapping[str, Mapping[str, float]] | None = None,
    faint: Mapping[str, Bool[np.ndarray, "blocks sites"]] | None = None,
    one_scale: bool = False,
    path: str | Path | None = None,
) -> "matplotlib.figure.Figure":
    """One map a quantity, side by side: blocks upwards, sites across, the value in each field.

    Args:
        maps: By what is drawn, such as "copying" and "control". NaN is left blank, and a map of
            nothing else is left out.
        blocks: The numbers of the blocks, from the bottom.
        sites: What each column is called.
        references: By map, values to hold its fields against, such as of all blocks together.
        faint: By map, fields that are drawn faintly, such as of intervals that hold 0.
        one_scale: Whether a colour means the same value in all maps, as for one quantity under
            several settings.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    maps = {name: values for name, values in maps.items() if np.isfinite(values).any()}
    if not maps:
        raise DataError("no single block has a value: there is no layer map to draw")
    tops = {name: max(float(np.nanmax(np.abs(v))), 1e-9) for name, v in maps.items()}
    if one_scale:
        tops = dict.fromkeys(maps, max(tops.values()))
    titles = {name: textwrap.wrap(name, _TITLE_COLUMNS) for name in maps}
    above = 0.2 * (max(map(len, titles.values())) - 1)
    width, height = 0.6 + 2.4 * len(maps) + 0.5 * len(sites), 1.6 + 0.26 * len(blocks) + above
    with drawn_figure(width, height, path, grid=False) as figure:
        axes = figure.subplots(1, len(maps), sharey=True, squeeze=False)[0]
        for axis, (name, values) in zip(axes, maps.items(), strict=True):
            image = _draw_map(axis, values, tops[name], (faint or {}).get(name))
            _name_sites(axis, sites)
            axis.set_yticks(range(len(blocks)), [str(block) for block in blocks])
            small = {"fontsize": 9} if len(titles[name]) > 1 else {}
            axis.set_title("\n".join(titles[name]), fontweight="bold", pad=22, **small)
            told = _told((references or {}).get(name, {}))
            write_above(axis, told, xytext=(0, 6), fontsize=8, color=GREY)
            if not one_scale:
                figure.colorbar(image, ax=axis, shrink=0.6)
        if one_scale:
            figure.colorbar(image, ax=axes, shrink=0.6)
        axes[0].set_ylabel("block")
    return figure


def _draw_map(
    axis: Any,
    values: Float[np.ndarray, "blocks sites"],
    top: float,
    faint: Bool[np.ndarray, "blocks sites"] | None,
) -> Any:
    """The image; in each of its fields the value is written."""
    faint = np.zeros(values.shape, dtype=bool) if faint is None else faint
    image = axis.imshow(
        values,
        cmap="PuOr_r",
        vmin=-top,
        vmax=top,
        origin="lower",
        aspect="auto",
        alpha=np.where(faint, _FAINT, 1.0),
    )
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            is_dark = abs(value) > _DARK * top and not faint[row, column]
            colour = "white" if is_dark else INK
            look = {"ha": "center", "va": "center", "fontsize": 8, "color": colour}
            axis.text(column, row, f"{value:.3f}", **look)
    return image


def _name_sites(axis: Any, sites: Sequence[str]) -> None:
    axis.set_xticks(range(len(sites)), sites)
    if len(sites) * max(map(len, sites)) > _ROOM:
        axis.tick_params(axis="x", rotation=40)
        for text in axis.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")


def _told(references: Mapping[str, float]) -> str:
    known = {name: value for name, value in references.items() if np.isfinite(value)}
    return "  ·  ".join(f"{name} {value:.3f}" for name, value in known.items())


def layer_curves(
    panels: Mapping[str, Mapping[str, Curve]],
    labels: tuple[str, str],
    *,
    levels: Mapping[str, float] | None = None,
    path: str | Path | None = None,
) -> "matplotlib.figure.Figure":
    """A value over the number of blocks: panels side by side, in each a line a site.

    Args:
        panels: By title, such as "from the top", its curves by name. A value that is NaN isn't
            drawn, and a panel without any is left out.
        labels: Of the two axes.
        levels: Values to hold the lines against, by name.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    drawn = {
        title: known
        for title, curves in panels.items()
        if (known := {name: points for name in curves if (points := _known(curves[name]))})
    }
    if not drawn:
        raise DataError("there is no curve to draw: give values of ranges of several lengths")
    names = list(dict.fromkeys(name for curves in drawn.values() for name in curves))
    looks = dict(zip(names, itertools.cycle(itertools.product(_STROKES, SERIES))))
    with drawn_figure(1.0 + 3.2 * len(drawn), 3.6, path) as figure:
        axes = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
        for axis, (title, curves) in zip(axes, drawn.items(), strict=True):
            for name, points in curves.items():
                _draw_curve(axis, name, points, looks[name])
            _draw_levels(axis.axhline, levels or {})
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_title(title)
            axis.set_xlabel(labels[0])
        axes[0].set_ylabel(labels[1])
        _name_once(figure, axes.tolist())
    return figure


def _name_once(figure: "matplotlib.figure.Figure", axes: Sequence[Any]) -> None:
    """A legend of what any of the axes draw."""
    named = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes]
    handles = {label: handle for pairs in named for handle, label in pairs}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=2 * len(axes))


def _draw_curve(axis: Any, name: str, points: Curve, look: tuple[Any, str]) -> None:
    x, mean, low, high = np.array(points, dtype=float).T
    line = {"marker": "o", "ms": 5, "ls": look[0], "lw": 1.5, "color": look[1], "label": name}
    axis.errorbar(x, mean, yerr=error_bars(mean, low, high), **line)


def _known(points: Curve) -> Curve:
    """Those with a value, the shortest ranges first."""
    return sorted(point for point in points if np.isfinite(point[1]))


def layer_ranking(
    values: Mapping[str, Sequence[float]],
    label: str,
    *,
    levels: Mapping[str, float] | None = None,
    path: str | Path | None = None,
) -> "matplotlib.figure.Figure":
    """The best 30 places, the best first: dots with their intervals; says so if there are more.

    Args:
        values: By place: value, lower and upper end of its interval (NaN: none). A place whose
            value is NaN isn't drawn.
        label: What the value is called.
        levels: Values to hold them against, by name.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    known = {name: value for name, value in values.items() if np.isfinite(value[0])}
    names = sorted(known, key=lambda name: -known[name][0])[:_MOST_RANKED]
    if not names:
        raise DataError("no place has a value: there is no ranking to draw")
    with drawn_figure(6.4, 1.5 + 0.28 * len(names), path) as figure:
        axis = figure.subplots()
        mean, low, high = np.array([known[name] for name in names], dtype=float).T
        rows, ends = range(len(names)), error_bars(mean, low, high)
        axis.errorbar(mean, rows, xerr=ends, fmt="o", color=SERIES[0], ms=5, elinewidth=1.5)
        _draw_levels(axis.axvline, levels or {})
        axis.set_yticks(rows, names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlabel(label)
        if len(names) < len(known):
            axis.set_title(f"best {len(names)} of {len(known)}")
        if axis.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncols=3)
    return figure


def _draw_levels(draw: Callable[..., Any], levels: Mapping[str, float]) -> None:
    """Lines all across; their names are for the legend, where no dot covers them."""
    known = {name: level for name, level in levels.items() if np.isfinite(level)}
    for (name, level), dashes in zip(known.items(), itertools.cycle(_DASHES)):
        draw(level, color=GREY, lw=1.2, ls=dashes, label=f"{name} {level:.3f}")
