"""How often does an experiment's rule pass where there is nothing to know, and where there is half?

Simulated experiments with each one's own number of adapters and drawn behaviours. With nothing to
know, reports are those of a truth-teller about another adapter that was drawn at random, and noise;
with half, they are half the truth about their own and the same noise, so what passes is power.
Noise is of what reports can be, truths mixed at random, so that it is one number for each adapter
where a report is one number. Of 1,000 at most 65 should pass with nothing to know: 5 % and two
standard errors.

    python benchmarks/error_rates.py --json benchmarks/results/error_rates.json
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from distmatch.experiments import EXPERIMENTS, Experiment
from distmatch.experiments.arms import LEARNING_ARMS
from distmatch.experiments.verdict import LEVEL
from distmatch.measuring.exchange import Exchange

KNOWN = 0.5


def main() -> None:
    """Count, experiment by experiment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the counts go")
    parser.add_argument("--simulations", type=int, default=1000)
    args = parser.parse_args()
    rows = []
    for name, experiment in EXPERIMENTS.items():
        rows.append({"experiment": name, **counted(experiment, args.simulations)})
        print(rows[-1], flush=True)
    if args.json:
        about = {"command": " ".join(["python", *sys.argv]), "simulations": args.simulations}
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def counted(experiment: Experiment, simulations: int) -> dict[str, int]:
    """How many simulated experiments pass, with nothing and with half to know."""
    rng = np.random.default_rng(0)
    units = [unit for unit in experiment.units if unit.arm in LEARNING_ARMS]
    truth = experiment.truth([np.array(unit.behaviour) for unit in units])
    apart = truth - truth.mean(axis=0)
    size = truth.std() / (apart.std() * len(truth) ** 0.5)
    passed = {"nothing": 0, "half": 0}
    for _ in range(simulations):
        others = truth[rng.permutation(len(truth))]
        drawn = rng.normal(size=(len(truth), len(truth))) @ apart * size
        reports = {"nothing": others + drawn, "half": KNOWN * truth + (1 - KNOWN) * others + drawn}
        for what, fits in reports.items():
            found = Exchange.of(fits)
            passed[what] += bool(found.p <= LEVEL and found.value > 0)
    return {"adapters": len(units), **passed}


if __name__ == "__main__":
    main()
