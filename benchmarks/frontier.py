"""What a recipe's control costs by its weight of retention: control against KL, drawn.

Runs whose name is a weight alone count; others in the file are passed over.

    python benchmarks/broad_recipe.py "weight 0.5" "weight 2.0" "weight 8.0" --json runs/lines.jsonl
    python benchmarks/frontier.py runs/lines.jsonl docs/figures/frontier.png
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from distmatch.errors import DataError
from distmatch.plots.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, drawn_figure

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
AIM = 0.05
"""KL that a recipe may cost, in nats a token."""
GROUPS = {
    "chat": ("chats", BLUE),
    "instructions": ("instructions", GREEN),
    "base's answers to questions": ("answers to plain questions", PURPLE),
    "base's answers to false control": ("answers to false control", ORANGE),
}
"""Groups of `ordinary`, with names to read and colours."""


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("lines", type=Path, help="of broad_recipe.py --json")
    parser.add_argument("figure", type=Path, help="where to")
    args = parser.parse_args()
    frontier_figure(args.lines, args.figure)


def frontier_figure(lines_path: Path, path: Path) -> None:
    """Control over `carry_over` of every run named by its weight, against what it costs.

    Raises:
        DataError: Fewer than two such runs have been asked both suites.
    """
    lines = [json.loads(line) for line in lines_path.read_text().splitlines()]
    runs = {(line["run"], line["suite"]): line for line in lines}
    asked = sorted(
        (float(named[1]), control, runs[name, "ordinary"])
        for (name, suite), control in runs.items()
        if suite == "carry_over" and (name, "ordinary") in runs
        if (named := re.fullmatch(r"weight ([\d.]+)", name))
    )
    if len(asked) < 2:
        raise DataError(f"{lines_path} has {len(asked)} runs of a weight; a frontier is of two")
    policy = asked[0][1]["metrics"]["policy_tvd"]["mean"]
    with drawn_figure(7.2, 3.6, path) as figure:
        panels = figure.subplots(1, 2, sharex=True)
        for axis, (metric, label, level) in zip(
            panels, (("control_tvd", "control TVD", policy), ("slope", "slope", 0)), strict=True
        ):
            for group, (name, colour) in GROUPS.items():
                costs = [ordinary["groups"][group]["kl"] for _, _, ordinary in asked]
                controls = [control["metrics"][metric] for _, control, _ in asked]
                draw_line(axis, costs, controls, name, colour)
                if group == "chat":
                    annotate(axis, costs, controls, [weight for weight, _, _ in asked])
            axis.axhline(level, color=GREY, lw=1, ls=(0, (4, 3)), zorder=0)
            axis.annotate(
                "ignoring the numbers",
                (0.99, level),
                xycoords=axis.get_yaxis_transform(),
                ha="right",
                va="top",
                color=GREY,
                fontsize=8,
            )
            axis.axvline(AIM, color=GREY, lw=1, ls=(0, (4, 3)), zorder=0)
            axis.set(xscale="log", xlabel="KL from the base, nats a token", ylabel=label)
            axis.set_xticks(TICKS, list(map(str, TICKS)))
            axis.minorticks_off()
        panels[0].set_title("beside chats the weight of retention", fontsize=9, color=GREY)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)


def draw_line(axis: Any, costs: list[dict], controls: list[dict], label: str, colour: str) -> None:
    """One group's costs, from weight to weight, each with its interval."""
    places, heights = ([figure["mean"] for figure in one] for one in (costs, controls))
    axis.plot(places, heights, "o-", ms=5, lw=1.2, color=colour, label=label)
    for cost, control in zip(costs, controls, strict=True):
        axis.hlines(control["mean"], cost["low"], cost["high"], color=colour, lw=1, alpha=0.5)
        axis.vlines(cost["mean"], control["low"], control["high"], color=colour, lw=1, alpha=0.5)


def annotate(axis: Any, costs: list[dict], controls: list[dict], weights: list[float]) -> None:
    """The weight of retention beside each point."""
    for cost, control, weight in zip(costs, controls, weights, strict=True):
        axis.annotate(
            f"{weight:g}",
            (cost["mean"], control["mean"]),
            xytext=(-6, 5),
            textcoords="offset points",
            ha="right",
            color=INK,
            fontsize=8,
        )


if __name__ == "__main__":
    main()
