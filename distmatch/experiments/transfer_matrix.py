"""The matrix of transfer: trained on this, measured by that, as differences from `none`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from distmatch import plots
from distmatch.evals import Report
from distmatch.evals.report import text_table
from distmatch.experiments.arms import NONE
from distmatch.experiments.battery import Respect
from distmatch.measuring.adapters import FEWEST, difference_interval
from distmatch.measuring.intervals import Interval, interval_text
from distmatch.measuring.max_t import max_t

LEVEL = 0.05
NOTED = "*"
"""Stands beside a difference that is there among all of the matrix."""


@dataclass(frozen=True, kw_only=True)
class TransferMatrix:
    """A value of every adapter in every respect, by what it learned."""

    respects: Sequence[Respect]
    values: Mapping[str, Float[np.ndarray, "adapters respects"]]
    """By kind of training, `none` among them; of a kind with a behaviour those that have it."""
    trained: Mapping[str, int] = field(default_factory=dict)
    """How many adapters there are of a kind with a behaviour, with those that haven't it."""
    seed: int = 0

    @classmethod
    def of(
        cls,
        reports: Mapping[str, Sequence[Mapping[str, Report]]],
        respects: Sequence[Respect],
        trained: Mapping[str, int],
        seed: int = 0,
    ) -> "TransferMatrix":
        """Of the reports of each kind's adapters, by suite.

        Args:
            reports: By kind of training.
            respects: The columns.
            trained: As of the matrix.
            seed: Of permutations.
        """
        values = {
            kind: np.array([[one.of(of_unit[one.suite]) for one in respects] for of_unit in units])
            for kind, units in reports.items()
        }
        return cls(respects=tuple(respects), values=values, trained=trained, seed=seed)

    @property
    def is_there(self) -> bool:
        """Whether there is anything, and `none` to hold it against."""
        return NONE in self.values and len(self.values) > 1

    @property
    def kinds(self) -> list[str]:
        """The rows."""
        return [kind for kind in self.values if kind != NONE]

    def difference(self, kind: str, respect: Respect) -> Interval:
        """From `none`, by Welch; without an interval where there are few adapters."""
        column = list(self.respects).index(respect)
        return difference_interval(
            self.values[NONE][:, column].tolist(), self.values[kind][:, column].tolist()
        )

    @property
    def p(self) -> dict[str, dict[Respect, float]]:
        """Adjusted for all of the matrix (maxT); NaN of rows or columns that say too little.

        Those are rows of fewer than four adapters, and columns in which some adapter has no value.
        """
        known = [
            place
            for place in range(len(self.respects))
            if all(np.isfinite(values[:, place]).all() for values in self.values.values())
        ]
        groups = {k: v[:, known] for k, v in self.values.items() if len(v) >= FEWEST}
        found = {kind: dict.fromkeys(self.respects, np.nan) for kind in self.kinds}
        if NONE not in groups or len(groups) < 2 or not known:
            return found
        for kind, of_kind in max_t(groups, NONE, seed=self.seed).items():
            for place, value in zip(known, of_kind, strict=True):
                found[kind][self.respects[place]] = float(value)
        return found

    @property
    def rows(self) -> list[list[str]]:
        """A row a figure, a column a training; first a header."""
        p = self.p
        rows = [["measured", "none", *(f"{kind} - none" for kind in self.kinds)]]
        for place, respect in enumerate(self.respects):
            none = self.values[NONE][:, place]
            cells = [
                interval_text(self.difference(kind, respect))
                + (NOTED if p[kind][respect] <= LEVEL else "")
                for kind in self.kinds
            ]
            rows.append([respect.name, f"{np.nanmean(none):.3f}", *cells])
        return rows

    def __str__(self) -> str:
        """The rows, and what a star means."""
        return f"{text_table(self.rows)}\n{self.note}"

    @property
    def note(self) -> str:
        """How many adapters each row is of, and what a star means."""
        sizes = ", ".join(map(self._size, dict.fromkeys([*self.trained, *self.values])))
        return (
            f"differences from none, the adapter as the unit ({sizes}); {NOTED} p at most {LEVEL} "
            f"among all of them (maxT), of {FEWEST} adapters or more"
        )

    def _size(self, kind: str) -> str:
        number = len(self.values.get(kind, ()))
        return f"{kind} {number}" + (
            f" of {self.trained[kind]}, the others not taught"
            if self.trained.get(kind, number) > number
            else ""
        )

    def draw(self, path: Path) -> object:
        """The matrix as a map.

        Args:
            path: Where it goes.
        """
        p = self.p
        apart = np.array(
            [[self.difference(kind, one).mean for one in self.respects] for kind in self.kinds]
        )
        chance = np.array([[p[kind][one] for one in self.respects] for kind in self.kinds])
        names = [one.name for one in self.respects]
        return plots.transfer_map(apart, chance, self.kinds, names, path=path)
