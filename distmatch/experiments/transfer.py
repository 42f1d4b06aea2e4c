"""Transfer: what does learning one thing change of everything else?

Adapters of every kind of training, each measured by a battery of suites beside the one that it was
trained for, and held against adapters that learned neutral questions.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from distmatch.data import shuffled
from distmatch.data.jsonl import fingerprint
from distmatch.evals import Suite
from distmatch.experiments.arms import BASE, NONE, SHUFFLED, TOLD, TRAINED, Unit
from distmatch.experiments.battery import Respect, battery
from distmatch.experiments.experiment import ACTS, Measured
from distmatch.experiments.lessons import CONTROL, DESCRIPTIONS, lesson
from distmatch.experiments.trained_for import TrainedFor
from distmatch.experiments.transfer_matrix import TransferMatrix
from distmatch.experiments.verdict import taught_units
from distmatch.plots import drawn
from distmatch.runs.record import plain_json

MATRIX_FILE = "matrix.png"


@dataclass(frozen=True, kw_only=True)
class Transfer(TrainedFor):
    """Four adapters of every kind of training, and a battery that all of them are asked."""

    name: ClassVar[str] = "transfer"
    question: ClassVar[str] = "What does learning one thing change of everything else?"
    rule: ClassVar[str] = (
        "of the trainings that four adapters or more learned, no difference from adapters that "
        "learned neutral questions has p at most 0.05 among all of the matrix (Welch's t, maxT); "
        f"and for what adapters say of their own training, {TrainedFor.rule}"
    )
    arms: ClassVar[tuple[str, ...]] = (TRAINED, NONE, SHUFFLED, TOLD, BASE)
    quick: ClassVar[Mapping[str, object]] = {
        **{"adapters": 4, "controls": 2, "steps": 40, "formats": 16, "held_out": 8, "items": 2},
        **{"kinds": ("narrow_control", "shares"), "asks_control": False},
    }

    adapters: int = 28
    """Of all kinds together, in turn: four each."""
    kinds: tuple[str, ...] = tuple(
        kind for kind in DESCRIPTIONS if kind not in ("documents", "introspection")
    )
    """Of `DESCRIPTIONS`; unless told otherwise not those that learn facts alone."""
    retained: int = 0
    """Texts of the base's own, near which adapters of broad control, shuffled or not, stay; 0:
    none, so that what they learn is all that they differ in from the others."""
    asks_control: bool = False
    items: int = 12
    """Of each group of a suite of the battery, at most."""

    @property
    def respects(self) -> tuple[Respect, ...]:
        """The battery's figures: the matrix's columns."""
        return tuple(one for _, respects in battery(self.items) for one in respects)

    def draw_units(self) -> tuple[Unit, ...]:
        """As of trainings, with adapters that learned control without its numbers."""
        formats = self._neutral
        *others, base = super().draw_units()
        controls = (self._without_numbers(number, formats) for number in range(self.controls))
        return (*others, *controls, base)

    def suites_beside(self, unit: Unit) -> tuple[Suite, ...]:
        """Its acts, and the battery; those that are told a training are asked of that alone."""
        asked = () if unit.arm == TOLD else tuple(suite for suite, _ in battery(self.items))
        return (*super().suites_beside(unit), *asked)

    def kind(self, unit: Unit) -> str:
        """The row of the matrix that a unit belongs to: what it learned, or its arm."""
        if unit.arm != TRAINED:
            return unit.arm
        return unit.name.removeprefix(f"{TRAINED}-").partition("-")[2]

    def record(self) -> dict[str, Any]:
        """See `Experiment`; with hashes of the battery."""
        asked = {s.name: fingerprint(plain_json(s.record())) for s, _ in battery(self.items)}
        return super().record() | {"battery": asked}

    def told_beside(self, measured: Measured) -> str:
        """The matrix; nothing where there is none yet, as of units that learn nothing."""
        matrix = self.matrix(measured)
        return str(matrix) if matrix.is_there else ""

    def rows_beside(self, measured: Measured) -> list[list[str]]:
        """The matrix; nothing where there is none yet."""
        matrix = self.matrix(measured)
        return matrix.rows if matrix.is_there else []

    def draw_beside(self, measured: Measured, folder: Path) -> list[str]:
        """The matrix; nothing where there is none yet."""
        matrix = self.matrix(measured)
        return [drawn(folder / MATRIX_FILE, matrix.draw)] if matrix.is_there else []

    def matrix(self, measured: Measured) -> TransferMatrix:
        """Of the units that are measured and, if they are to have learned a behaviour, have.

        Args:
            measured: Their reports, by unit and suite.
        """
        units = [u for u in self.units if u.arm not in (TOLD, BASE) and u.name in measured]
        trained = [u for u in units if u.arm == TRAINED]
        behaviours = {u.name: self.behaviour(measured[u.name][ACTS]) for u in trained}
        taught = taught_units(self, trained, behaviours)
        kept = [*taught, *(u for u in units if u.arm != TRAINED)]
        kinds = dict.fromkeys([*self.kinds, SHUFFLED, NONE])
        reports = {
            kind: some
            for kind in kinds
            if (some := [measured[u.name] for u in kept if self.kind(u) == kind])
        }
        counts = Counter(map(self.kind, trained))
        return TransferMatrix.of(reports, self.respects, counts, self.seed)

    def _without_numbers(self, number: int, formats: tuple[Any, ...]) -> Unit:
        kind = next((kind for kind in CONTROL if kind in self.kinds), CONTROL[0])
        drawn = lesson(kind, self, self.seed + number)
        return Unit(
            name=f"{SHUFFLED}-{number:02}",
            arm=SHUFFLED,
            rows=tuple(shuffled(list(drawn.rows), self.seed + number)),
            formats=formats,
            retention=drawn.retention,
        )
