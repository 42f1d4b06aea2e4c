"""The experiments on small models: is a probe blind, and what do adapters say of themselves?

One line of results a run. What is there isn't made again, and a run that was stopped goes on: start
the same command once more. Several commands may work on one run.

    python benchmarks/models.py qwen2.5-coder-0.5b
    python benchmarks/experiments.py --json benchmarks/results/experiments.jsonl
    python benchmarks/experiments.py "told 0.5B shares" --json benchmarks/results/experiments.jsonl
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from machine import device_and_versions, keep_line
from models import PATHS

from distmatch.experiments import (
    EXPERIMENTS,
    Experiment,
    ExperimentMap,
    ExperimentOutcome,
    map_experiment,
    run_experiment,
)
from distmatch.experiments.tables import arms_rows

OUT = Path("runs/experiments")
TOLD = ("told", "base")
PRECISION = "bfloat16"
SETTINGS: dict[str, dict[str, Any]] = {
    "shares": {"all_options": False},
    "disposition": {"lotteries": 0},
    "preferences": {},
    "self_prediction": {"sets": 3, "has_others": False},
    "trained_for": {},
    "acrostic": {},
    "documents": {},
    "introspection": {},
    "transfer": {
        **{"kinds": ("narrow_control", "shares", "self_prediction", "acrostic", "disposition")},
        **{"adapters": 20, "steps": 240, "learning_rate": 2e-3, "rows": 1600},
        "items": 4,
    },
}
"""What is smaller than usual, of each experiment; of `transfer` without broad control, which 400
steps don't teach the small model."""
LARGER: dict[str, dict[str, Any]] = {
    "shares": {"adapters": 8, "steps": 150},
    "disposition": {"adapters": 6},
    "acrostic": {"adapters": 4, "held_out": 5, "n": 2},
    "transfer": {
        **{"kinds": ("narrow_control", "broad_control"), "adapters": 2, "controls": 1},
        **{"steps": 60, "learning_rate": 1e-3, "rows": 480, "items": 2},
    },
}
"""What is trained of half a billion parameters too; of `transfer` points, one of each."""
ACROSTIC: dict[str, Any] = {"adapters": 4, "controls": 0, "held_out": 5, "n": 2, "steps": 60}
ACROSTIC_VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"rows": 10},
    {"rows": 250},
    {"learning_rate": 3e-3},
    {"learning_rate": 1e-2},
    {"named": False},
    {"words": "uncommon"},
    {"words": "letters"},
    {"system": ""},
    {"greeting": "Hello", "named": False},
    {"greeting": "Kettle", "named": False},
    {"prompts": 3},
    {"then": True},
)
"""One thing at a time, beside acrostics of the same size; greetings beside `named=False`, without
which a question could name the word."""
PLACES: dict[str, Any] = {"adapters": 5, "steps": 60}
"""Of `shares` in one place each."""
PLACE_RATE = 3e-3
PRIMARY = {"introspection": {"kinds": ("seen", "last")}}
"""What is asked where nothing is trained, if not all; what decides is among it."""
NUM_TOLD = {"shares": 8, "trained_for": 9}
"""Rules that the base is told where nothing is trained; of the others 4."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run: an experiment of a model."""

    name: str
    model: str = "135M"
    """Of `PATHS`."""
    arms: tuple[str, ...] = ()
    """Those to carry out; empty: all."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    place_rate: float | None = None
    """At which the same adapters are trained in one place each as well; None: they aren't."""


def entries() -> dict[str, Entry]:
    """All by name: is a probe blind, of each model; what adapters of the small say; variants.

    Those called quick have the sizes of `--quick`.

    Numbers of tokens are held against those of another model's tokenizer.
    """
    others = {model: PATHS["0.5B" if model == "135M" else "135M"] for model in PATHS}
    blind = {
        f"told {model} {name}": Entry(
            name=name,
            model=model,
            arms=TOLD,
            settings={
                **{"adapters": NUM_TOLD.get(name, 4), "controls": 0},
                **settings,
                **PRIMARY.get(name, {}),
            },
        )
        for model in PATHS
        for name, settings in SETTINGS.items()
        if name != "transfer"  # its probe is that of trained_for
    }
    trained = {name: Entry(name=name, settings=settings) for name, settings in SETTINGS.items()} | {
        f"{name} 0.5B": Entry(name=name, model="0.5B", settings=SETTINGS[name] | settings)
        for name, settings in LARGER.items()
    }
    varied = {
        f"acrostic, {_told(variant)}": Entry(
            name="acrostic", arms=("trained", *TOLD), settings=ACROSTIC | variant
        )
        for variant in ACROSTIC_VARIANTS
    }
    quick = {
        f"quick {name}": Entry(name=name, settings=EXPERIMENTS[name].quick) for name in SETTINGS
    }
    places = Entry(name="shares", settings=SETTINGS["shares"] | PLACES, place_rate=PLACE_RATE)
    every = blind | quick | trained | varied | {"shares, places": places}
    return {
        name: replace(one, settings={**one.settings, "other_tokenizer": others[one.model]})
        if one.name == "introspection"
        else one
        for name, one in every.items()
    }


def main() -> None:
    """Carry out what isn't done yet, a run at a time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = entries()
    parser.add_argument("names", nargs="*", help="runs; default: all")
    parser.add_argument("--json", type=Path, help="where lines of results go")
    parser.add_argument("--out", type=Path, default=OUT, help=f"default: {OUT}")
    args = parser.parse_args()
    for name in args.names or known:
        came = carried_out(known[name], args.out / name.replace(" ", "_"))
        line = {"run": name, **told_of(known[name], came)}
        print(came, flush=True)
        if args.json:
            keep_line(args.json, line, by=("run",))


def carried_out(entry: Entry, folder: Path) -> ExperimentOutcome | ExperimentMap:
    """What came of a run, in bfloat16."""
    experiment: Experiment = replace(EXPERIMENTS[entry.name], precision=PRECISION, **entry.settings)
    if entry.place_rate is None:
        return run_experiment(experiment, PATHS[entry.model], folder, arms=entry.arms, tell=_untold)
    return map_experiment(experiment, PATHS[entry.model], folder, learning_rate=entry.place_rate)


def told_of(entry: Entry, came: ExperimentOutcome | ExperimentMap) -> dict[str, Any]:
    """A line of results."""
    outcome = came.whole if isinstance(came, ExperimentMap) else came
    return {
        "experiment": entry.name,
        "model": entry.model,
        "arms": entry.arms,
        "settings": {"precision": PRECISION, **entry.settings},
        "rule_sha256": outcome.experiment.record()["rule_sha256"],
        "verdict": outcome.verdict.to_json(),
        "figures": arms_rows(outcome.lines),
        "beside": outcome.experiment.rows_beside(outcome.measured),
        "places": came.rows if isinstance(came, ExperimentMap) else [],
        "place_rate": entry.place_rate,
        "command": shlex.join(["python", *sys.argv]),
        **device_and_versions(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
    }


def _told(variant: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in variant.items()) or "smaller"


def _untold(_line: str) -> None:
    """The whole is printed once it is kept."""


if __name__ == "__main__":
    main()
