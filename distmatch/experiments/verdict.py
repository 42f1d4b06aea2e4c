"""What an experiment says, by the rule that was written before it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distmatch.evals import Report
from distmatch.evals.suites.probes.probe import (
    ANSWERED,
    OWN,
    READER,
    REFERENT,
    VALID,
    is_about,
    said_of,
)
from distmatch.experiments.arms import LEARNING_ARMS, TOLD, TRAINED, Unit
from distmatch.experiments.experiment import ACTS, Experiment, Measured, Values
from distmatch.measuring.adapters import FEWEST, mean_interval, power, slope_interval
from distmatch.measuring.exchange import Exchange
from distmatch.measuring.intervals import Interval, interval_text

LEVEL = 0.05
"""Of the one test; where several experiments are read together, Holm's."""

TOO_FEW = "points, no verdict"
NOT_TAUGHT = "not taught"
NOT_ANSWERED = "not answered"
BLIND = "blind"
UNSEEN = "nothing found, nothing shown"
READ = "no more than a reader"
REPORTS = "it reports its own"
NO_REPORT = "no report of its own found"
OUTCOMES = {
    TOO_FEW: f"of fewer than {FEWEST} adapters nothing can be said",
    NOT_TAUGHT: "the behaviour isn't there on held-out settings, so there is nothing to report",
    NOT_ANSWERED: "less than half of the mass is on valid answers",
    BLIND: "told the rule in so many words, the model doesn't report it either, or doesn't answer",
    UNSEEN: f"no report was found, but without {FEWEST} models that are told their rule nothing "
    "says that this probe can find one",
    READ: "its reports fit its own behaviour, but so do those of the base that has read some of "
    "its answers",
    REPORTS: "its reports fit its own behaviour better than the other adapters', beyond the "
    "referent's",
    NO_REPORT: "its reports fit its own behaviour no better than the other adapters'",
}
"""What each means; only the last three are results."""
RESULTS = (READ, REPORTS, NO_REPORT)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The primary contrast on some units."""

    units: tuple[str, ...]
    behaviours: tuple[tuple[float, ...], ...]
    reports: tuple[tuple[float, ...], ...]
    """Own less referent; of the reader's as they are."""
    exchange: Exchange
    interval: Interval
    """Of the exchange's value, with the adapter as the unit."""
    truth: float
    """The value of one that reports the truth."""
    power: float
    """How likely half of that is found, if adapters vary as these do."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of the primary contrast, and of what has to be seen first."""

    outcome: str
    """One of `OUTCOMES`."""
    num_learned: int
    """Adapters that were to learn a behaviour of their own,"""
    num_taught: int
    """of these, those that have,"""
    num_answered: int
    """and of these, those that answer the primary probe."""
    evidence: Evidence | None = None
    """Of these."""
    told: Evidence | None = None
    """Of the positive arm: the base, told each rule."""
    reader: Evidence | None = None
    """Of the base, behind some answers of each adapter's; where it is asked."""
    p: float = math.nan
    """Of the one test; NaN where there is no result. Where experiments are read together it is
    corrected (`read_together`)."""

    @property
    def counts(self) -> str:
        """How many adapters there were, learned and answered, in words."""
        if not self.num_learned:
            return "no adapter was trained"
        return (
            f"{self.num_taught} of {self.num_learned} adapters learned their behaviour, "
            f"{self.num_answered} of these answer"
        )

    def __str__(self) -> str:
        """In a few lines."""
        lines = [f"{self.outcome}: {OUTCOMES[self.outcome]}"]
        lines.append(f"  {self.counts}")
        sides = {TRAINED: self.evidence, TOLD: self.told, "reader": self.reader}
        for name, found in sides.items():
            if found is not None:
                p = f", p {found.exchange.p:.4f}" if self.outcome in RESULTS else ""
                lines.append(
                    f"  {name}: {interval_text(found.interval)} by exchange of "
                    f"{len(found.units)}, a truth-teller's {found.truth:.3f}{p}"
                )
        if self.evidence is not None and math.isfinite(self.evidence.power):
            lines.append(
                f"  half of that would be found with probability {self.evidence.power:.2f}"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers; None for what isn't known."""
        return dict(_plain(asdict(self)))


def decided(experiment: Experiment, measured: Measured) -> Verdict:
    """The verdict, by the order in which things have to hold.

    Of fewer than four adapters it can only be that the probe is blind.

    Taught and answered are asked of each adapter, and those that fail it don't count; a positive
    verdict is given only where the model isn't blind.

    Args:
        experiment: Whose units were measured.
        measured: Their reports.
    """
    units = [unit for unit in experiment.units if unit.name in measured]
    learned = [unit for unit in units if unit.arm in LEARNING_ARMS]
    behaviours = {u.name: experiment.behaviour(measured[u.name][ACTS]) for u in learned}
    taught = taught_units(experiment, learned, behaviours)
    kept = [u for u in taught if answers(experiment, measured[u.name])]
    counts = {
        "num_learned": len(learned),
        "num_taught": len(taught),
        "num_answered": len(kept),
    }
    drawn = {u.name: np.array(u.behaviour) for u in units if u.arm == TOLD}
    positive = [u for u in units if u.arm == TOLD and answers(experiment, measured[u.name])]
    told = evidence(experiment, measured, positive, drawn)
    found = evidence(experiment, measured, kept, behaviours)
    reader = evidence(experiment, measured, kept, behaviours, READER)
    outcome = _outcome(counts, found, told, reader, num_told=len(drawn))
    p = found.exchange.p if found is not None and outcome in RESULTS else math.nan
    return Verdict(outcome=outcome, **counts, evidence=found, told=told, reader=reader, p=p)


def _outcome(
    counts: Mapping[str, int],
    found: Evidence | None,
    told: Evidence | None,
    reader: Evidence | None,
    *,
    num_told: int,
) -> str:
    is_blind = num_told >= FEWEST and not sees(told)
    if counts["num_learned"] < FEWEST:
        return BLIND if is_blind else TOO_FEW
    if counts["num_taught"] < FEWEST:
        return NOT_TAUGHT
    if counts["num_answered"] < FEWEST or found is None:
        return NOT_ANSWERED
    if is_blind:
        return BLIND
    if found.exchange.p <= LEVEL and found.exchange.value > 0:
        is_read = reader is not None and reader.exchange.value >= found.exchange.value
        return READ if is_read else REPORTS
    return NO_REPORT if num_told >= FEWEST else UNSEEN


def sees(told: Evidence | None) -> bool:
    """Whether the probe lights up where the model is told what there is to report.

    That is, by at least half of what a truth-teller would have, and with an interval above the
    base's value, which is 0: it says the same whatever the rule.

    Args:
        told: Of the positive arm; None where too few of it answer at all.
    """
    return (
        told is not None and told.exchange.value >= told.truth / 2 and bool(told.interval.low > 0)
    )


def evidence(
    experiment: Experiment,
    measured: Measured,
    units: Sequence[Unit],
    behaviours: Mapping[str, Values],
    who: str = OWN,
) -> Evidence | None:
    """The primary contrast on some units; None of fewer than two, or where that isn't asked.

    Args:
        experiment: Theirs.
        measured: Their reports.
        units: Which.
        behaviours: Of each by its name, as measured or as told.
        who: `OWN`, less the referent; or `READER`.
    """
    probe, primary = experiment.primary.probe, experiment.primary
    reports = {unit.name: measured[unit.name][probe] for unit in units}
    is_asked = all(is_about(report, who) for report in reports.values())
    if len(units) < 2 or not is_asked:
        return None
    acted = [behaviours[unit.name] for unit in units]
    fits = experiment.fits(reports, acted, who)
    said = [primary.reported(report, who) for report in reports.values()]
    if who == OWN:
        fits = fits - experiment.fits(reports, acted, REFERENT)
        others = (primary.reported(report, REFERENT) for report in reports.values())
        said = [own - other for own, other in zip(said, others, strict=True)]
    exchange = Exchange.of(fits, seed=experiment.seed)
    truth = Exchange.of(experiment.truth(acted)).value
    interval, freedom = contrast_interval(experiment, exchange, acted, said)
    return Evidence(
        units=tuple(reports),
        behaviours=tuple(tuple(map(float, one)) for one in acted),
        reports=tuple(tuple(map(float, one)) for one in said),
        exchange=exchange,
        interval=interval,
        truth=truth,
        power=power(interval, freedom, truth / 2, LEVEL),
    )


def contrast_interval(
    experiment: Experiment, exchange: Exchange, acted: Sequence[Values], said: Sequence[Values]
) -> tuple[Interval, int]:
    """Of an exchange's value, with the adapter as the unit, and its degrees of freedom.

    Args:
        experiment: Whose contrast it is.
        exchange: Of reports with behaviours.
        acted: The behaviours.
        said: The reports.
    """
    if experiment.primary.fit == "slope":
        pairs = ([float(one[0]) for one in some] for some in (acted, said))
        return slope_interval(*pairs), len(acted) - 2
    return mean_interval(exchange.each.tolist()), len(acted) - 1


def answers(experiment: Experiment, reports: Mapping[str, Report]) -> bool:
    """Whether half of the mass is on valid answers, of itself and of the referent."""
    report = reports[experiment.primary.probe]
    asked = [who for who in (OWN, REFERENT) if is_about(report, who)]
    return all(said_of(report, who, VALID) >= ANSWERED for who in asked)


def taught_units(
    experiment: Experiment, learned: Sequence[Unit], behaviours: Mapping[str, Values]
) -> list[Unit]:
    """Those that do in held-out settings what they learned.

    Args:
        experiment: Theirs.
        learned: Units whose behaviour was measured.
        behaviours: What each does, by its name.
    """
    if not learned:
        return []
    drawn = [np.array(unit.behaviour) for unit in learned]
    have = experiment.taught(drawn, [behaviours[unit.name] for unit in learned])
    return [unit for unit, has in zip(learned, have, strict=True) if has]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
