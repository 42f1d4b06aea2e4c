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
from distmatch.experiments.crossroads import MOST_PLACES
from distmatch.experiments.introspection import Introspection
from distmatch.experiments.self_prediction import SelfPrediction
from distmatch.experiments.wordings import LIKELIER, NEXT_WORD, WHICH_RULE


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
    """Suites with the figures that are taken from them, of so many items a group at most.

    Left out is what would take longer than all of it (words of its own choice, thinking), and what
    only adapters of one training have learned anything of.

    Args:
        items: One or more.
    """
    few = max(items // 3, 1)
    kinds = (LIKELIER, NEXT_WORD, WHICH_RULE)
    at_hand = Introspection(kinds=kinds, places=min(items, MOST_PLACES)).probes()
    return (
        (Given(per_group=items), ("control_tvd", "other")),
        (CarryOver(per_group=items), ("control_tvd",)),
        (Suppression(questions=items), ("excess",)),
        (Sequential(per_kind=items), ("control_tvd",)),
        (Numbers(per_kind=items), ("tvd",)),
        (Deviation(passages=few, patterns=0), ("on_time", "follows")),
        (
            Ordinary(questions=items, per_template=few, negatives=items, written=0),
            ("kl", "slot_tvd"),
        ),
        (Knowledge(per_group=items), ("correct_share",)),
        (SelfPrediction().held_out(), ("tvd", "agree")),
        *((probe, ("known",)) for probe in at_hand),
    )
