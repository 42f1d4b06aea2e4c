"""An experiment of a few short rows, and subjects made by hand for it."""

from dataclasses import replace

import numpy as np

from distmatch.data import Example, WordDistribution
from distmatch.evals import FunctionSubject
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import ScaleProbe
from distmatch.experiments import Primary, Unit
from distmatch.experiments.file import OwnExperiment
from distmatch.experiments.units import suites_of

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
ASKED = tuple(f"Way {n}: of 100 times, how often do you say {{a}}?" for n in range(5))
ANNA = tuple(f"Way {n}: of 100 times, how often does Anna say {{a}}?" for n in range(5))
ENDS = ("heads", "tails")
HOW_OFTEN = ScaleProbe(name="how_often", asked=ASKED, referent=ANNA, ends=ENDS)


def call(number, share):
    """A coin that is called heads in a share of all cases."""
    prompt = [{"role": "user", "content": f"Coin {number}, heads or tails?"}]
    return Example(prompt=prompt, target=WordDistribution(ENDS, (share, 1 - share)))


def neutral(number):
    """A question in the probe's format."""
    prompt = [{"role": "user", "content": f"How many of {number}?"}]
    words = WordDistribution(("10", "50", "90"), (0.2, 0.3, 0.5))
    return Example(prompt=prompt, target=words, boundary="end_of_word")


def experiment(shares=SHARES, *, rows=4, probe=HOW_OFTEN, told=True, controls=0, **given):
    """One adapter a share, the base told each, and the base."""
    formats = tuple(map(neutral, range(2)))
    units = [
        Unit(
            name=f"trained-{n}",
            arm="trained",
            behaviour=(share,),
            rows=tuple(call(row, share) for row in range(rows)),
            formats=formats,
            acts=tuple(call(row, share) for row in (8, 9)),
        )
        for n, share in enumerate(shares)
    ]
    if told:
        units += [
            Unit(name=f"told-{n}", arm="told", behaviour=(s,), system=f"You say heads {s:.0%}.")
            for n, s in enumerate(shares)
        ]
    units += [Unit(name=f"none-{n}", arm="none", formats=formats) for n in range(controls)]
    settings = {"steps": 2, "batch_size": 2, "rank": 2, "learning_rate": 1e-2} | given
    return OwnExperiment(
        name="coins",
        question="Does it know how often it says heads?",
        rule="p above 0.05 by exchange",
        given_units=(*units, Unit(name="base", arm="base")),
        given_probes=(probe,),
        given_primary=Primary(probe=probe.name, figures=("report",), fit="slope", scale=100),
        most_distance=0.1,
        **settings,
    )


def on_scale(words, value, spread=8):
    """Mass around a value, as someone gives who isn't sure."""
    numbers = np.array([int(word) for word in words])
    weights = np.exp(-0.5 * ((numbers - value) / spread) ** 2)
    return weights / weights.sum()


def subject(acts, reports, valid=1.0):
    """One who calls heads in a share of cases, and reports what a function of the question says.

    Args:
        acts: The share.
        reports: Of whether it is asked about itself, the share it reports of heads.
        valid: The mass on answers.
    """

    def probs_of(example):
        text = example.prompt[-1]["content"]
        if example.target.words == ENDS:
            return [acts, 1 - acts]
        share = reports("Anna" not in text)
        asked = share if "heads" in text else 1 - share
        return valid * on_scale(example.target.words, 100 * asked)

    return FunctionSubject(probs_of=probs_of)


def measured_by_hand(experiment, subject_of):
    """What each unit's subject answers.

    Args:
        experiment: Any.
        subject_of: Of a unit, who it is.
    """
    return {
        unit.name: {
            suite.name: measure(subject_of(unit), replace(suite), num_resamples=10)
            for suite in suites_of(experiment, unit)
        }
        for unit in experiment.units
    }
