"""What `peers.py` and `learning_race.py` found, drawn."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distmatch.errors import DataError
from distmatch.plots.style import BLUE, GREEN, GREY, ORANGE, drawn_figure

if TYPE_CHECKING:
    from learning_race import Race

LOOPS = {
    "ours": ("distmatch", BLUE),
    "plain": ("one padded sequence a word", ORANGE),
    "trl_sft": ("TRL's SFT, one sampled word", GREEN),
}
PANELS = {
    "words": "words a prompt",
    "word_tokens": "tokens a word",
    "prompt_tokens": "tokens a prompt",
    "batch": "examples a step",
}
METHODS = {"distmatch": ("exact targets", BLUE), "trl_sft": ("sampled words (TRL's SFT)", GREEN)}


def steps_figure(rows_path: Path, path: Path) -> None:
    """Seconds a step along each axis measured; what was extrapolated has open marks."""
    lines = [json.loads(line) for line in rows_path.read_text().splitlines()]
    rows = [row for row in lines if row["loss"] == "forward_kl"]
    panels = {name: label for name, label in PANELS.items() if len(along(rows, name)) > 1}
    with drawn_figure(3.1 * len(panels), 3.1, path) as figure:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, (name, label) in zip(axes, panels.items(), strict=True):
            draw_axis(axis, along(rows, name), name)
            axis.set(xscale="log", yscale="log", xlabel=label)
            values = [row[name] for row in along(rows, name)]
            axis.set_xticks(values, [str(value) for value in values], minor=False)
            axis.minorticks_off()
        axes[0].set_ylabel("seconds a step")
        axes[0].legend()


def draw_axis(axis: Any, rows: list[dict[str, Any]], name: str) -> None:
    """A line for each loop, with the least and the most."""
    for kind, (label, colour) in LOOPS.items():
        places = [row[name] for row in rows]
        times = [row[f"{kind}_ms"] / 1000 for row in rows]
        axis.plot(places, times, color=colour, lw=1.6, label=label)
        for place, time, row in zip(places, times, rows, strict=True):
            is_open = kind == "plain" and row["extrapolated"]
            face = "white" if is_open else colour
            axis.plot(place, time, "o", ms=5, mec=colour, mfc=face)
            low, high = (end / 1000 for end in row[f"{kind}_range_ms"])
            axis.vlines(place, low, high, color=colour, lw=1)


def along(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The rows that leave the centre along one axis, in order, the first of each size."""
    centre = next(row for row in rows if is_centre(row))
    fixed = [other for other in (*PANELS, "prefix_tokens") if other != name]
    found = [row for row in rows if all(row[other] == centre[other] for other in fixed)]
    first = {row[name]: row for row in reversed(found)}
    return [first[place] for place in sorted(first)]


def is_centre(row: dict[str, Any]) -> bool:
    """Whether a row is of the size that all axes leave."""
    from peers import CENTRE

    return all(row[name] == getattr(CENTRE, name) for name in (*PANELS, "prefix_tokens"))


def race_figure(race: "Race", path: Path) -> None:
    """Control TVD over the examples of every run of the race.

    Raises:
        DataError: No run has begun.
    """
    policy, finish = race.asked["race"].policy_tvd, race.finish
    with drawn_figure(6.4, 3.6, path) as figure:
        axis = figure.subplots()
        for level, name in ((policy, "a policy that ignores the numbers"), (finish, "the finish")):
            axis.axhline(level, color=GREY, lw=1, ls=(0, (4, 3)))
            axis.annotate(name, (0.99, level), xycoords=axis.get_yaxis_transform(), ha="right")
        for method, (label, colour) in METHODS.items():
            runs = [lines for heat in race.heats(method) if (lines := race.lines(heat))]
            for number, lines in enumerate(runs):
                examples = [line["examples"] for line in lines]
                values = [line["control_tvd"] for line in lines]
                axis.plot(examples, values, color=colour, lw=1.3, label=None if number else label)
        if not axis.get_legend_handles_labels()[1]:
            raise DataError(f"no run of the race has begun in {race.out}")
        axis.set(xlabel="examples", ylabel="control TVD, held-out words", ylim=(0, None))
        axis.legend()
