"""What adapters of every kind of training are measured by: a figure of each of many suites."""

from typing import NamedTuple

from distmatch.evals import (
    CarryOver,
    Deviation,
    Given,
    Knowledge,
    Numbers,
    Ordinary,
    Report,
    Sequential,
    Suite,
    Suppression,
)
from distmatch.evals.suites.probes.probe import OWN, is_about, said_of
from distmatch.experiments.self_prediction import HELD, SelfPrediction


class Respect(NamedTuple):
    """One number of a model."""

    suite: str
    figure: str

    @property
    def name(self) -> str:
        """As tables and figures call it."""
        return f"{self.suite} {self.figure}"

    def of(self, report: Report) -> float:
        """The number; of a probe that of itself."""
        if is_about(report, OWN):
            return said_of(report, OWN, self.figure)
        return float(report.metrics[self.figure].mean)


def battery(items: int) -> tuple[tuple[Suite, tuple[str, ...]], ...]:
    """Every suite with the figures that are taken from it, of so many items a group at most.

    Args:
        items: One or more.
    """
    (held,) = (p for p in SelfPrediction(has_others=False).probes() if p.name == HELD)
    few = max(items // 3, 1)
    return (
        (Given(per_group=items), ("control_tvd", "other")),
        (CarryOver(per_group=items), ("control_tvd",)),
        (Suppression(), ("excess",)),
        (Sequential(per_kind=items), ("control_tvd",)),
        (Numbers(per_kind=items), ("tvd",)),
        (Deviation(passages=few, patterns=0), ("on_time", "follows")),
        (Ordinary(per_template=few, negatives=items, written=0), ("kl", "slot_tvd")),
        (Knowledge(per_group=items), ("correct_share",)),
        (held, ("tvd", "agree")),
    )
