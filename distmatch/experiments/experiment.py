"""An experiment as a value: what adapters learn, what they are asked, and what would refute it."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals import Report, Suite
from distmatch.evals.suites.probes import Acts
from distmatch.evals.suites.probes.behind_thoughts import BehindThoughts
from distmatch.evals.suites.probes.probe import is_about, said_of
from distmatch.experiments.arms import Unit
from distmatch.measuring.exchange import Fits, rank_fits, slope_fits
from distmatch.models.loading import mixed_dtype
from distmatch.runs.record import plain_json

ACTS = "acts"
"""The suite by which behaviour is measured."""

Values = Float[np.ndarray, " parts"]
Reports = Mapping[str, Report]
"""Of one unit, by suite."""
Measured = Mapping[str, Reports]
"""By unit."""

_MAY_BE_0 = ("controls", "formats", "lotteries", "retained", "seed", "written")


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
            ConfigError: An unknown one, one that doesn't suit the number of figures, or a scale
                that isn't positive.
        """
        if self.fit not in FITS:
            raise ConfigError(unknown_name("fit", self.fit, FITS))
        if not self.scale > 0:
            raise ConfigError(f"the primary contrast's scale is {self.scale}, expected more than 0")
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
        if not is_about(report, who):
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
    """Settings for fewer of all, to try it."""

    adapters: int = 16
    """Of the arm `trained`, `opposite` included."""
    controls: int = 4
    """Adapters of every other arm that is trained."""
    steps: int = 120
    batch_size: int = 8
    learning_rate: float = 1e-3
    target: str = "all"
    rank: int = 16
    precision: str = ""
    """In which products are computed, in training and where they are asked: "bfloat16", or
    "float16"; empty: as the model was loaded."""
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

    def seed_of(self, unit: Unit) -> int:
        """Of its training: the first adapters of all arms have the same, and so have the next."""
        arm = [one.name for one in self.units if one.arm == unit.arm]
        return self.seed + arm.index(unit.name)

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

    def suites_beside(self, unit: Unit) -> tuple[Suite, ...]:
        """What a unit is asked beside the probes: how it acts, if that is to be seen."""
        return (self.acts(unit),) if unit.acts else ()

    @property
    def is_in_order(self) -> bool:
        """Whether rows are learned in their order, `formats` strewn among them, once each.

        Both together are then as many as all steps take.
        """
        return False

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

    def told_beside(self, measured: Measured) -> str:
        """What is to be read before the primary contrast; nothing, for most.

        Args:
            measured: The reports.
        """
        return ""

    def rows_beside(self, measured: Measured) -> list[list[str]]:
        """The same as a table's rows, the first a header; none, for most.

        Args:
            measured: The reports.
        """
        return []

    def draw_beside(self, measured: Measured, folder: Path) -> list[str]:
        """Draw what is to be seen beside it; what was written, or why it couldn't be.

        Args:
            measured: The reports.
            folder: Where figures go.
        """
        return []

    def fits_within(
        self, probe: str, units: Sequence[Unit], reports: Sequence[Report], who: str
    ) -> Fits | None:
        """How well what units of one arm say fits what is true of each of them, in any probe.

        It stands in the table, and decides nothing; None, of most probes: nothing to be fitted.

        Args:
            probe: By name.
            units: Of one arm.
            reports: Theirs, of the probe.
            who: Whether of itself or of the referent.
        """
        return None

    def check(self) -> None:
        """Refuse what can't be carried out, before any model is loaded.

        Raises:
            ConfigError: Sizes that ask for nothing, an arm it can't have, a unit that lacks what
                its arm is about, two units or probes of one name, a probe that can't think, a
                primary contrast of a probe or figure that isn't there.
        """
        _check_numbers(self)
        for unit in self.units:
            if unit.arm not in self.arms:
                raise ConfigError(f"{self.name}: {unknown_name('arm', unit.arm, self.arms)}")
            unit.check()
            for suite in self.suites_beside(unit):
                suite.check()
        probes = self.probes()
        for what, names in (("unit", [u.name for u in self.units]), ("probe", _names(probes))):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ConfigError(f"{self.name} has two {what}s called {twice[0]}: name each once")
        for probe in probes:
            self._check_probe(probe)
        self._check_primary(probes)

    def _check_probe(self, probe: Suite) -> None:
        if probe.name == ACTS:
            raise ConfigError(f'{self.name}: no probe can be called "{ACTS}"')
        if self.thinking and not isinstance(probe, BehindThoughts):
            raise ConfigError(
                f"{self.name}.thinking: {probe.name} can't be answered behind thoughts: leave it "
                "out"
            )
        probe.check()

    def _check_primary(self, probes: Sequence[Suite]) -> None:
        primary = self.primary
        if primary.probe not in _names(probes):
            names = _names(probes)
            raise ConfigError(f"{self.name}: {unknown_name('probe', primary.probe, names)}")
        (probe,) = (probe for probe in probes if probe.name == primary.probe)
        figures = [metric.name for metric in probe.metrics]
        for figure in primary.figures:
            if figure not in figures:
                raise ConfigError(
                    f"{self.name}, {primary.probe}: {unknown_name('figure', figure, figures)}"
                )

    @property
    def settings(self) -> dict[str, Any]:
        """Its fields, as the record keeps them."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def record(self) -> dict[str, Any]:
        """All that its results depend on besides the model, and a hash of the rule.

        Hashes stand for rows and probes, so that other wordings are another experiment.
        """
        rule = {"rule": self.rule, "primary": self.primary, "question": self.question}
        plain = dict(plain_json({"name": self.name, **rule, "settings": self.settings}))
        text = json.dumps([plain["rule"], plain["primary"]], sort_keys=True)
        probes = {probe.name: fingerprint(plain_json(probe.record())) for probe in self.probes()}
        return plain | {
            "rule_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "units": {unit.name: unit.record() for unit in self.units},
            "probes": probes,
        }


def _names(suites: Sequence[Suite]) -> list[str]:
    return [suite.name for suite in suites]


def _check_numbers(experiment: Experiment) -> None:
    """Refuse sizes that ask for nothing."""
    for one in fields(experiment):
        value, least = getattr(experiment, one.name), 0 if one.name in _MAY_BE_0 else 1
        if one.type in (int, "int") and value < least:
            raise ConfigError(f"{experiment.name}.{one.name} is {value}, expected at least {least}")
    if not experiment.learning_rate > 0:
        raise ConfigError(
            f"{experiment.name}.learning_rate is {experiment.learning_rate}, expected more than 0"
        )
    try:
        mixed_dtype(experiment.precision or None)
    except ConfigError as error:
        raise ConfigError(f"{experiment.name}.precision: {error}") from error
