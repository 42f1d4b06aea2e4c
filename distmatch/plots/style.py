"""What all figures have alike: colours, fonts, how they are made and saved."""

import functools
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from distmatch.errors import DataError, MissingExtraError, import_extra
from distmatch.files import replacing

if TYPE_CHECKING:
    import matplotlib.figure

# Okabe and Ito's colours, which stay apart under every common colour blindness.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#AA4499"
SERIES = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00")
INK, GREY, FAINT = "#222222", "#777777", "#DDDDDD"

STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_DPI = 160
_LAYOUT = "compressed"


@contextmanager
def drawn_figure(
    width: float, height: float, path: str | Path | None, *, grid: bool = True
) -> "Iterator[matplotlib.figure.Figure]":
    """A figure in the common style, saved once all is drawn; it can show itself in a notebook.

    Args:
        width: In inches.
        height: In inches.
        path: Where to save it, in the format of its ending; None: nowhere.
        grid: Whether axes have one.
    """
    style = import_extra("matplotlib.style", "plots")
    figure_module = import_extra("matplotlib.figure", "plots")
    canvas_module = import_extra("matplotlib.backends.backend_agg", "plots")
    with style.context(["default", STYLE | {"axes.grid": grid}]):
        figure = figure_module.Figure(figsize=(width, height), layout=_LAYOUT)
        canvas_module.FigureCanvasAgg(figure)  # without pyplot
        figure._repr_png_ = functools.partial(_png, figure)
        yield figure
        if path is not None:
            with replacing(path) as part:
                figure.savefig(part, format=Path(path).suffix[1:] or "png", dpi=_DPI)


def _png(figure: "matplotlib.figure.Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def drawn(path: Path, figure: Callable[[Path], Any]) -> str:
    """Draw a figure, and say that it was written, or why it can't be.

    Args:
        path: Where to.
        figure: What draws it there.
    """
    try:
        figure(path)
    except (MissingExtraError, DataError) as error:
        return f"{path} was not drawn: {error}"
    return f"wrote {path}"


def error_bars(
    mean: Float[np.ndarray, " points"],
    low: Float[np.ndarray, " points"],
    high: Float[np.ndarray, " points"],
) -> Float[np.ndarray, "2 points"]:
    """How far intervals reach below and above their means; 0 where there is none."""
    return np.nan_to_num(np.maximum([mean - low, high - mean], 0))


def write_above(axis: Any, text: str, **look: Any) -> None:
    """Write a line between an axis and its title."""
    axis.annotate(text, (0, 1), xycoords="axes fraction", textcoords="offset points", **look)
