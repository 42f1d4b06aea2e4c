"""Plain arrays in, matplotlib figure out; needs the extra `plots`.

Figures are made without pyplot, so nothing here touches its state, opens a window or needs a
display. They show themselves in notebooks; outside, give a `path`.
"""

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from distmatch.errors import DataError, import_extra

if TYPE_CHECKING:
    import matplotlib.figure

# Okabe and Ito's colours, which stay apart under every common colour blindness.
_BLUE, _ORANGE, _GREEN, _PURPLE = "#0072B2", "#D55E00", "#009E73", "#AA4499"
_SERIES = (_BLUE, _ORANGE, _GREEN, "#CC79A7", "#56B4E9", "#E69F00")
_POLICY = "best without the numbers"
_INK, _GREY, _FAINT = "#222222", "#777777", "#DDDDDD"

_STYLE = {
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_DPI = 160
_NUM_BINS = 10
_FEWEST_IN_BIN = 3
_NUM_RESAMPLES = 400
_TAILS = (2.5, 97.5)

_CURVES = {
    "loss": ("loss", _INK, None),
    "tvd": ("TVD", _BLUE, None),
    "slope": ("slope, given on asked", _GREEN, 1.0),
    "other": ("other", _ORANGE, None),
}
"""What `learning_curve` draws: a label, a colour, and where perfect is if that is not 0."""


@runtime_checkable
class Answers(Protocol):
    """What `calibration` draws: any object with these, such as an evaluation report."""

    @property
    def asked(self) -> Float[np.ndarray, "examples words"]:
        """Asked probabilities, renormalised over the words; NaN where there is no word."""

    @property
    def given(self) -> Float[np.ndarray, "examples words"]:
        """What the model gives, likewise."""

    @property
    def other(self) -> Float[np.ndarray, " examples"] | None:
        """The model's probability of none of the words; None where not known."""


class PlainAnswers(NamedTuple):
    """`Answers` of plain arrays."""

    asked: Float[np.ndarray, "examples words"]
    given: Float[np.ndarray, "examples words"]
    other: Float[np.ndarray, " examples"] | None = None


def calibration(
    answers: Answers | Mapping[str, Answers], path: str | Path | None = None
) -> "matplotlib.figure.Figure":
    """Given against asked probability of every word, renormalised over the words.

    On the diagonal the model does as asked; on a dotted line, at 1/K for K words, it ignores the
    numbers. Points with bars are means of ten bins, with 95 % bootstrap intervals over examples.
    The slope is of least squares with each example centred at its 1/K; TVD is of the renormalised
    distributions.

    Args:
        answers: Of one model; or of several, such as "before" and "after", drawn side by side.
        path: Where to save the figure too, in the format of its ending.

    Raises:
        DataError: Nothing to draw.
        MissingExtraError: matplotlib isn't installed.
    """
    panels = dict(answers) if isinstance(answers, Mapping) else {"": answers}
    if not panels:
        raise DataError("there are no answers to draw: give at least one report")
    style = import_extra("matplotlib.style", "plots")
    with style.context(["default", _STYLE]):
        figure = _new_figure(4.2 * len(panels) + 0.4, 5.2)
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for axis, (name, panel) in zip(axes, panels.items(), strict=True):
            _draw_calibration(axis, name, panel)
        axes[0].set_ylabel("given probability")
        handles, labels = axes[0].get_legend_handles_labels()
        columns = 2 if len(panels) == 1 else len(labels)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        _save(figure, path)
    return figure


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
    style = import_extra("matplotlib.style", "plots")
    with style.context(["default", _STYLE]):
        figure = _new_figure(3.4 * len(present), 3.2)
        axes = figure.subplots(1, len(present), sharex=True, squeeze=False)[0]
        for axis, name in zip(axes, present, strict=True):
            _draw_curve(axis, name, series[name], series[f"eval_{name}"])
        both = [axis for axis in axes if len(axis.get_legend_handles_labels()[1]) == 2]
        if both:
            both[0].legend()
        _save(figure, path)
    return figure


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
    style = import_extra("matplotlib.style", "plots")
    with style.context(["default", _STYLE]):
        figure = _new_figure(6.4, 1.3 + (0.14 + 0.14 * len(series)) * len(names))
        axis = figure.subplots()
        places = {name: place for place, name in enumerate(names)}
        spread = 0.6 / len(series)
        for number, (model, values) in enumerate(series.items()):
            drawn = {name: value for name, value in values.items() if np.isfinite(value[0])}
            shift = (number - (len(series) - 1) / 2) * spread
            heights = [places[name] + shift for name in drawn]
            mean, low, high = np.array(list(drawn.values()), dtype=float).reshape(-1, 3).T
            ends = np.nan_to_num(np.maximum([mean - low, high - mean], 0))
            axis.errorbar(
                mean,
                heights,
                xerr=ends,
                fmt="o",
                color=_SERIES[number % len(_SERIES)],
                markersize=5,
                elinewidth=1.5,
                label=model,
            )
        if marks:
            marked = [marks.get(name, np.nan) for name in names]
            axis.scatter(marked, range(len(names)), marker="|", s=160, color=_PURPLE, label=_POLICY)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlabel(label)
        if len(series) > 1 or marks:
            figure.legend(loc="outside lower center", ncols=4)
        _save(figure, path)
    return figure


def _draw_calibration(axis: Any, name: str, answers: Answers) -> None:
    asked, given = np.asarray(answers.asked), np.asarray(answers.given)
    is_drawn = np.isfinite(asked) & np.isfinite(given)
    counts = is_drawn.sum(1)
    if not is_drawn.any():
        of = f' of "{name}"' if name else ""
        raise DataError(f"no example{of} has two words, so there is no control to draw")
    axis.plot([0, 1], [0, 1], color=_INK, lw=1.2, label="as asked")
    for number, count in enumerate(np.unique(counts[counts > 0])):
        label = "numbers ignored: 1/K" if number == 0 else None
        axis.axhline(1 / count, color=_PURPLE, lw=1.3, ls=(0, (1, 2)), label=label)
        axis.annotate(
            f"1/{count}",
            (1, 1 / count),
            xycoords=axis.get_yaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=_PURPLE,
        )
    size = float(np.clip(600 / is_drawn.sum() ** 0.5, 5, 26))
    axis.scatter(
        asked[is_drawn], given[is_drawn], s=size, color=_BLUE, alpha=0.3, lw=0, label="a word"
    )
    centres, means, low, high = _bin_means(asked, given, is_drawn).T
    axis.errorbar(
        centres,
        means,
        yerr=np.maximum([means - low, high - means], 0),
        fmt="o",
        color=_ORANGE,
        markersize=6,
        markeredgecolor="white",
        elinewidth=1.8,
        zorder=4,
        label="mean, 95 %",
    )
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.set_xlabel("asked probability")
    # The name, where there is one, stands above the numbers.
    axis.set_title(name or " ", fontsize=11, fontweight="bold", pad=22)
    axis.annotate(
        _summary(asked, given, answers.other),
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 7),
        textcoords="offset points",
        fontsize=9.5,
    )


def _summary(asked: np.ndarray, given: np.ndarray, other: np.ndarray | None) -> str:
    is_drawn = np.isfinite(asked) & np.isfinite(given)
    rows = is_drawn.any(1)
    centre = 1 / is_drawn[rows].sum(1, keepdims=True)
    wanted = np.where(is_drawn, asked, np.nan)[rows] - centre
    had = np.where(is_drawn, given, np.nan)[rows] - centre
    spread = float(np.nansum(wanted**2))
    parts = [f"slope {np.nansum(wanted * had) / spread:.2f}"] if spread else []
    parts.append(f"control TVD {0.5 * np.nansum(abs(wanted - had), axis=1).mean():.3f}")
    if other is not None:
        parts.append(f"other {np.mean(other):.3f}")
    return "  ·  ".join(parts)


def _bin_means(
    asked: np.ndarray, given: np.ndarray, is_drawn: np.ndarray
) -> Float[np.ndarray, "bins 4"]:
    """Mean asked, mean given, and the latter's interval, for each bin with enough words."""
    bins = np.minimum(np.where(is_drawn, asked, 0) * _NUM_BINS, _NUM_BINS - 1).astype(int)
    shares = np.full(len(asked), 1 / len(asked))
    resamples = np.random.default_rng(0).multinomial(len(asked), shares, size=_NUM_RESAMPLES)
    rows = []
    for index in range(_NUM_BINS):
        member = is_drawn & (bins == index)
        if member.sum() < _FEWEST_IN_BIN:
            continue
        totals = resamples @ np.where(member, given, 0).sum(1)
        counts = resamples @ member.sum(1)
        draws = totals[counts > 0] / counts[counts > 0]
        rows.append([asked[member].mean(), given[member].mean(), *np.percentile(draws, _TAILS)])
    return np.array(rows).reshape(-1, 4)


def _series(history: Sequence[Mapping[str, Any]], name: str) -> Float[np.ndarray, "points 2"]:
    """Steps and finite values of one key; of several at one step the last."""
    points = {entry["step"]: entry[name] for entry in history if name in entry and "step" in entry}
    rows = [[step, value] for step, value in sorted(points.items()) if value is not None]
    array = np.array(rows, dtype=float).reshape(-1, 2)
    return array[np.isfinite(array[:, 1])]


def _draw_curve(axis: Any, name: str, trained: np.ndarray, evaluated: np.ndarray) -> None:
    label, colour, perfect = _CURVES[name]
    if perfect is not None:
        axis.axhline(perfect, color=_GREY, lw=1, ls=(0, (4, 3)))
        axis.annotate(
            "perfect",
            (0.02, perfect),
            xycoords=axis.get_yaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
            color=_GREY,
        )
    if len(trained):
        alone = not len(evaluated)
        width, alpha = (1.6, 1.0) if alone else (0.9, 0.55)
        axis.plot(*trained.T, color=colour, lw=width, alpha=alpha, label="train")
    if len(evaluated):
        axis.plot(*evaluated.T, color=colour, lw=1.8, marker="o", ms=4, label="eval")
    last = (evaluated if len(evaluated) else trained)[-1, 1]
    axis.set_title(f"{last:.3f}", fontsize=10, loc="right", color=colour, fontweight="bold")
    axis.set_title(label, fontsize=10)
    axis.set_xlabel("step")
    low, high = axis.get_ylim()
    axis.set_ylim(min(0, low), max(high, 1.15 * (perfect or 0)))
    axis.xaxis.get_major_locator().set_params(integer=True)


def _new_figure(width: float, height: float) -> Any:
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


def _save(figure: "matplotlib.figure.Figure", path: str | Path | None) -> None:
    """Write the figure, replacing the file only when all is written."""
    if path is None:
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format=path.suffix[1:] or "png", dpi=_DPI)
    part.replace(path)
