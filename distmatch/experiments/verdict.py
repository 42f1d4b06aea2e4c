"""What an experiment says, by the rule that was written before it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distmatch.evals import Report
from distmatch.evals.suites.probes.probe import ANSWERED, OWN, REFERENT, VALID, said_of
from distmatch.experiments.experiment import ACTS, LEARNING_ARMS, TOLD, Experiment, Unit, Values
from distmatch.experiments.units import Measured
from distmatch.measuring.adapters import FEWEST, mean_interval, power, slope_interval
from distmatch.measuring.exchange import Exchange
from distmatch.measuring.intervals import Interval

LEVEL = 0.05
"""Of the one test; Holm's where several experiments are read together."""

TOO_FEW = "points, no verdict"
NOT_TAUGHT = "not taught"
NOT_ANSWERED = "not answered"
BLIND = "blind"
REPORTS = "it reports its own"
NO_REPORT = "no report of its own found"
OUTCOMES = {
    TOO_FEW: f"of fewer than {FEWEST} adapters nothing can be said",
    NOT_TAUGHT: "the behaviour isn't there on held-out settings, so there is nothing to report",
    NOT_ANSWERED: "less than half of the mass is on valid answers",
    BLIND: "told the rule in so many words, the model doesn't report it either",
    REPORTS: "its reports fit its own behaviour better than the other adapters', beyond the "
    "referent's",
    NO_REPORT: "its reports fit its own behaviour no better than the other adapters'",
}
"""What each means; the first four are no null results."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The primary contrast on some units."""

    units: tuple[str, ...]
    behaviours: tuple[tuple[float, ...], ...]
    reports: tuple[tuple[float, ...], ...]
    """Own less referent."""
    exchange: Exchange
    interval: Interval
    """Of the exchange's value, with the adapter as the unit."""
    truth: float
    """The value of one that reports the truth."""

    @property
    def power(self) -> float:
        """How likely half of a truth-teller's value is found, if adapters vary as these do."""
        return power(self.interval, len(self.units), self.truth / 2, LEVEL)


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
    p: float = math.nan

    def __str__(self) -> str:
        """In a few lines."""
        lines = [f"{self.outcome}: {OUTCOMES[self.outcome]}"]
        lines.append(
            f"  {self.num_taught} of {self.num_learned} adapters learned their behaviour, "
            f"{self.num_answered} of these answer"
        )
        for name, found in (("trained", self.evidence), (TOLD, self.told)):
            if found is not None:
                lines.append(
                    f"  {name}: {found.interval}, a truth-teller's {found.truth:.3f}, "
                    f"p {found.exchange.p:.4f} by exchange of {len(found.units)}"
                )
        if self.evidence is not None and self.evidence.power == self.evidence.power:
            lines.append(
                f"  half of that would be found with probability {self.evidence.power:.2f}"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers; None for what isn't known."""
        return dict(_plain(asdict(self)))


def decided(experiment: Experiment, measured: Measured) -> Verdict:
    """The verdict, by the order in which things have to hold.

    Taught and answered are asked of each adapter, and those that fail it don't count; a positive
    verdict is given only where the model isn't blind.

    Args:
        experiment: Whose units were measured.
        measured: Their reports.
    """
    units = [unit for unit in experiment.units if unit.name in measured]
    learned = [unit for unit in units if unit.arm in LEARNING_ARMS]
    behaviours = {u.name: experiment.behaviour(measured[u.name][ACTS]) for u in learned}
    taught = _taught(experiment, learned, behaviours)
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
    outcome = _outcome(counts, found, told, has_told=bool(drawn))
    p = math.nan if found is None else found.exchange.p
    return Verdict(outcome=outcome, **counts, evidence=found, told=told, p=p)


def _outcome(
    counts: Mapping[str, int], found: Evidence | None, told: Evidence | None, *, has_told: bool
) -> str:
    if counts["num_learned"] < FEWEST:
        return TOO_FEW
    if counts["num_taught"] < FEWEST:
        return NOT_TAUGHT
    if counts["num_answered"] < FEWEST or found is None:
        return NOT_ANSWERED
    if has_told and not sees(told):
        return BLIND
    return REPORTS if found.exchange.p <= LEVEL and found.exchange.value > 0 else NO_REPORT


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
) -> Evidence | None:
    """The primary contrast on some units; None of fewer than two.

    Args:
        experiment: Theirs.
        measured: Their reports.
        units: Which.
        behaviours: Of each by its name, as measured or as told.
    """
    if len(units) < 2:
        return None
    probe, primary = experiment.primary.probe, experiment.primary
    reports = {unit.name: measured[unit.name][probe] for unit in units}
    acted = [behaviours[unit.name] for unit in units]
    fits = experiment.fits(reports, acted, OWN) - experiment.fits(reports, acted, REFERENT)
    exchange = Exchange.of(fits, seed=experiment.seed)
    said = [primary.reported(r, OWN) - primary.reported(r, REFERENT) for r in reports.values()]
    return Evidence(
        units=tuple(reports),
        behaviours=tuple(tuple(map(float, one)) for one in acted),
        reports=tuple(tuple(map(float, one)) for one in said),
        exchange=exchange,
        interval=_interval(experiment, exchange, acted, said),
        truth=Exchange.of(experiment.truth(acted)).value,
    )


def _interval(
    experiment: Experiment, exchange: Exchange, acted: Sequence[Values], said: Sequence[Values]
) -> Interval:
    if experiment.primary.fit == "slope":
        return slope_interval(*([float(one[0]) for one in some] for some in (acted, said)))
    return mean_interval(exchange.each.tolist())


def answers(experiment: Experiment, reports: Mapping[str, Report]) -> bool:
    """Whether half of the mass is on valid answers, of itself and of the referent."""
    report = reports[experiment.primary.probe]
    asked = {about["group"] for about in report.items.metadata} & {OWN, REFERENT}
    return all(said_of(report, who, VALID) >= ANSWERED for who in asked)


def _taught(
    experiment: Experiment, learned: Sequence[Unit], behaviours: Mapping[str, Values]
) -> list[Unit]:
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
