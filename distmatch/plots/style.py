"""What all figures have alike: colours, fonts, how they are made and saved."""

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distmatch.errors import DataError, MissingExtraError, import_extra

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


def new_figure(width: float, height: float) -> Any:
    """A figure of its own, without pyplot, that can show itself in a notebook."""
    figure_module = import_extra("matplotlib.figure", "plots")
    canvas_module = import_extra("matplotlib.backends.backend_agg", "plots")
    figure = figure_module.Figure(figsize=(width, height), layout="compressed")
    canvas_module.FigureCanvasAgg(figure)
    figure._repr_png_ = functools.partial(_png, figure)
    return figure


def _png(figure: "matplotlib.figure.Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def save_figure(figure: "matplotlib.figure.Figure", path: str | Path | None) -> None:
    """Write the figure, replacing the file only when all is written."""
    if path is None:
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format=path.suffix[1:] or "png", dpi=_DPI)
    part.replace(path)


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
