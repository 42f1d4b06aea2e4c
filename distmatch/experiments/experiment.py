"""An experiment as a value: what adapters learn, what they are asked, and what would refute it."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from distmatch.data.examples import Example
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals import Report, Suite
from distmatch.evals.suites.probes import Acts
from distmatch.evals.suites.probes.probe import said_of
from distmatch.measuring.exchange import Fits, rank_fits, slope_fits
from distmatch.runs.record import plain_json

TRAINED, NONE, SHUFFLED, OPPOSITE = "trained", "none", "shuffled", "opposite"
DECORRELATED, TOLD, BASE = "decorrelated", "told", "base"

ARMS: dict[str, str] = {
    TRAINED: "what it is about",
    NONE: "that learning to answer in a format does it",
    SHUFFLED: "that the rows do it without the rule in them",
    OPPOSITE: "that any such training gives the same report; counts among the trained",
    DECORRELATED: "that the rule's parts do it without what ties them together",
    TOLD: "that the probe can't see it at all: the rule stands in the system message",
    BASE: "that the model says so anyway",
}
"""Ways of making, or telling, a model, and what each rules out."""

LEARNING_ARMS = (TRAINED, OPPOSITE)
"""Whose adapters have learned a behaviour of their own, and are exchanged."""

ACTS = "acts"
"""The suite by which behaviour is measured."""

Values = Float[np.ndarray, " parts"]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A model of an experiment: an adapter, or the base, told something or not."""

    name: str
    arm: str
    rows: tuple[Example, ...] = ()
    """What it learns; none of `told` and `base`."""
    formats: tuple[Example, ...] = ()
    """What it learns besides: neutral questions in the probes' formats, answered as the base would,
    so that it answers in them at all. Their targets are the base's shares of the words."""
    behaviour: tuple[float, ...] = ()
    """What was drawn for it to learn, or be told: one number, or one for each part."""
    acts: tuple[Example, ...] = ()
    """Held-out settings in which its behaviour is measured; of those that have learned or been
    told one, and of the base where that is to be seen beside them."""
    system: str = ""
    """What it is told."""


@dataclass(frozen=True, kw_only=True)
class Primary:
    """The one contrast that decides: own less referent, exchanged between adapters."""

    probe: str
    figures: tuple[str, ...]
    """Of the probe, what it reports: one number, or one for each part of the behaviour."""
    fit: str
    """How a report fits a behaviour: one of `FITS`."""
    scale: float = 1.0
    """What a report is divided by to be in the behaviour's units, such as 100 for a share."""

    def __post_init__(self) -> None:
        """Check the fit.

        Raises:
            ConfigError: An unknown one, or one that doesn't suit the number of figures.
        """
        if self.fit not in FITS:
            raise ConfigError(unknown_name("fit", self.fit, FITS))
        if (self.fit == "slope") != (len(self.figures) == 1):
            raise ConfigError(
                f"the primary contrast fits {len(self.figures)} figures by {self.fit}: a slope is "
                "of one, ranks and distances are of several"
            )

    def reported(self, report: Report, who: str) -> Values:
        """What was reported.

        Args:
            report: Of the probe.
            who: Of whom; where that isn't asked, it is nothing: zeros.
        """
        if all(about.get("group") != who for about in report.items.metadata):
            return np.zeros(len(self.figures))
        return np.array([said_of(report, who, figure) for figure in self.figures]) / self.scale

    def fits(self, reports: Sequence[Values], behaviours: Sequence[Values]) -> Fits:
        """Of each report with each behaviour."""
        return FITS[self.fit](np.stack(reports), np.stack(behaviours))


def _slope(reports: np.ndarray, behaviours: np.ndarray) -> Fits:
    return slope_fits(reports[:, 0], behaviours[:, 0])


def _nearness(reports: np.ndarray, behaviours: np.ndarray) -> Fits:
    return -np.abs(reports[:, None] - behaviours[None]).sum(axis=-1) / 2


def _overlap(reports: np.ndarray, behaviours: np.ndarray) -> Fits:
    return reports @ behaviours.T


FITS = {"slope": _slope, "rank": rank_fits, "nearness": _nearness, "overlap": _overlap}
"""By name: the slope of reports on behaviours, rank correlation over parts, less total variation
between distributions, what a report gives to the parts there are."""


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """Adapters that each learn a behaviour of their own drawing, and are asked about it.

    Its settings are its fields; those of training are the same for all adapters.
    """

    quick: ClassVar[Mapping[str, Any]] = {}
    """Settings that are done in twenty minutes with the embedded model on two cores."""

    adapters: int = 16
    """Of the arm `trained`, `opposite` included."""
    controls: int = 4
    """Adapters of every other arm that is trained."""
    steps: int = 120
    batch_size: int = 8
    learning_rate: float = 1e-3
    target: str = "all"
    rank: int = 16
    thinking: str = ""
    """In which of the model's ways it thinks before it answers a probe; empty: it doesn't."""
    thoughts: int = 4
    """Behind which an answer is the mean."""
    thought_tokens: int = 256
    """Where a thought is cut off."""
    seed: int = 0

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called."""

    @property
    @abstractmethod
    def question(self) -> str:
        """In one sentence."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """What would refute it, written before anything is trained."""

    @property
    @abstractmethod
    def arms(self) -> tuple[str, ...]:
        """Those of `ARMS` that mean something here."""

    @abstractmethod
    def draw_units(self) -> tuple[Unit, ...]:
        """Every model that is asked; names are those of folders."""

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """These, drawn once."""
        return self.draw_units()

    @abstractmethod
    def probes(self) -> tuple[Suite, ...]:
        """What every model is asked."""

    @property
    @abstractmethod
    def primary(self) -> Primary:
        """What decides."""

    @abstractmethod
    def taught(self, drawn: Sequence[Values], measured: Sequence[Values]) -> list[bool]:
        """Of each adapter whether it has learned what was drawn for it: the manipulation check."""

    def acts(self, unit: Unit) -> Suite:
        """How a unit's behaviour is measured, as the suite `ACTS`."""
        return Acts(name=ACTS, rows=unit.acts)

    def behaviour(self, report: Report) -> Values:
        """What a unit does, of its report of `acts`."""
        return np.array([report.metrics["share"].mean])

    def fits(self, reports: Mapping[str, Report], behaviours: Sequence[Values], who: str) -> Fits:
        """How well the report of each unit fits each behaviour.

        Args:
            reports: Of the primary probe, by unit.
            behaviours: In the same order.
            who: Whether of itself or of the referent.
        """
        told = [self.primary.reported(report, who) for report in reports.values()]
        return self.primary.fits(told, behaviours)

    def truth(self, behaviours: Sequence[Values]) -> Fits:
        """The fits of reports that are the truth."""
        return self.primary.fits(behaviours, behaviours)

    def check(self) -> None:
        """Refuse what can't be carried out, before any model is loaded.

        Raises:
            ConfigError: An arm it can't have, two units or probes of one name, a primary contrast
                of a probe or figure that isn't there.
        """
        units, probes = self.units, {probe.name: probe for probe in self.probes()}
        for unit in units:
            if unit.arm not in self.arms:
                raise ConfigError(f"{self.name}: {unknown_name('arm', unit.arm, self.arms)}")
        names = [unit.name for unit in units]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{self.name} has two units called {twice[0]}: name each once")
        if len(probes) < len(self.probes()) or ACTS in probes:
            raise ConfigError(f'{self.name}: every probe needs a name of its own, none "{ACTS}"')
        primary = self.primary
        if primary.probe not in probes:
            raise ConfigError(f"{self.name}: {unknown_name('probe', primary.probe, probes)}")
        figures = [metric.name for metric in probes[primary.probe].metrics]
        for figure in primary.figures:
            if figure not in figures:
                raise ConfigError(
                    f"{self.name}, {primary.probe}: {unknown_name('figure', figure, figures)}"
                )
        for probe in probes.values():
            probe.check()

    def record(self) -> dict[str, Any]:
        """All that its results depend on besides the model, and a hash of the rule."""
        settings = {one.name: getattr(self, one.name) for one in fields(self)}
        rule = {"rule": self.rule, "primary": self.primary, "question": self.question}
        plain = dict(plain_json({"name": self.name, **rule, "settings": settings}))
        text = json.dumps([plain["rule"], plain["primary"]], sort_keys=True)
        return plain | {"rule_sha256": hashlib.sha256(text.encode()).hexdigest()}
