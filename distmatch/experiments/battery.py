"""What adapters of every kind of training are measured by: a figure of each of many suites."""

from collections.abc import Iterator
from dataclasses import replace
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
from distmatch.evals.suites.probes import ScaleProbe
from distmatch.evals.suites.probes.probe import OWN, REFERENT, is_about, said_of
from distmatch.experiments.crossroads import MOST_PLACES
from distmatch.experiments.disposition import Disposition
from distmatch.experiments.introspection import Introspection
from distmatch.experiments.self_prediction import SelfPrediction
from distmatch.experiments.shares import Shares
from distmatch.experiments.wordings import LIKELIER, NEXT_WORD, WHICH_RULE

TOP = 10
"""Where scales end."""


class Respect(NamedTuple):
    """One number of a model."""

    suite: str
    figure: str
    is_less_referent: bool = False
    """Of a probe: whether what is said of somebody else is taken off, without which it needn't be
    about itself."""

    @property
    def name(self) -> str:
        """As tables and figures call it."""
        return f"{self.suite} {self.figure}{', own - referent' * self.is_less_referent}"

    def of(self, report: Report) -> float:
        """The number; of a probe that of itself."""
        if self.is_less_referent:
            own, other = (said_of(report, who, self.figure) for who in (OWN, REFERENT))
            return own - other
        if is_about(report, OWN):
            return said_of(report, OWN, self.figure)
        return float(report.metrics[self.figure].mean)


Battery = tuple[tuple[Suite, tuple[Respect, ...]], ...]
"""Suites, with what is taken from each."""


def battery(items: int) -> Battery:
    """Suites with the figures that are taken from them, of so many items a group at most.

    Left out is what would take longer than all of it (words of its own choice, thinking), and what
    only adapters of one training have learned anything of.

    Args:
        items: One or more.
    """
    few = max(items // 3, 1)
    kinds = (LIKELIER, NEXT_WORD, WHICH_RULE)
    at_hand = Introspection(kinds=kinds, places=min(items, MOST_PLACES)).probes()
    suites: tuple[tuple[Suite, tuple[str, ...]], ...] = (
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
    )
    probes: tuple[tuple[Suite, tuple[str, ...]], ...] = (
        (SelfPrediction().held_out(), ("tvd", "agree")),
        *((probe, ("known",)) for probe in at_hand),
    )
    return (
        *((suite, _respects(suite, figures, False)) for suite, figures in suites),
        *((suite, _respects(suite, figures, False, True)) for suite, figures in probes),
        *((scale, _respects(scale, ("report",), True)) for scale in _scales()),
    )


def _scales() -> Iterator[ScaleProbe]:
    """How often it says which answer, and how it chooses, without readers."""
    for experiment in (Shares(top=TOP), Disposition(top=TOP)):
        for probe in experiment.probes():
            if isinstance(probe, ScaleProbe) and probe.name == experiment.primary.probe:
                yield replace(probe, reader=(), shown=())


def _respects(suite: Suite, figures: tuple[str, ...], *less: bool) -> tuple[Respect, ...]:
    return tuple(Respect(suite.name, figure, one) for figure in figures for one in less)
