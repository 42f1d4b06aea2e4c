"""What came of taking an adapter apart: a table, maps beside each other, a curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from distmatch import plots
from distmatch.anatomy.parts import ALL, NONE, ONLY, TIMES, WITHOUT, Part, Place
from distmatch.evals import Report, compare
from distmatch.evals.report import text_table
from distmatch.measuring.intervals import Interval
from distmatch.plots import drawn

MAPS_FILE, TIMES_FILE, TABLE_FILE = "places.png", "times.png", "table.txt"
_FURTHER = "control_tvd"


@dataclass(frozen=True, kw_only=True)
class TakenApart:
    """Reports of the parts of an adapter on the same examples; `print` shows the table."""

    parts: Sequence[Part]
    reports: Mapping[str, Report]
    """By the parts' names."""

    def control(self, part: Part) -> float:
        """How much nearer it is than the best policy that ignores the numbers (TVD)."""
        metrics = self.reports[part.name].metrics
        return metrics["policy_tvd"].mean - metrics[_FURTHER].mean

    def gained(self, place: Place) -> Interval:
        """What a place has of control by itself, above that of the base; paired by example."""
        return self._nearer(Part(NONE), Part(ONLY, place))

    def lost(self, place: Place) -> Interval:
        """What the whole adapter loses of control without a place; paired by example."""
        return self._nearer(Part(WITHOUT, place), Part(ALL))

    @property
    def whole(self) -> Interval:
        """What the whole adapter has of control above the base's."""
        return self._nearer(Part(NONE), Part(ALL))

    @property
    def places(self) -> list[Place]:
        """The lowest first."""
        return sorted({part.place for part in self.parts if part.place is not None})

    def _nearer(self, first: Part, second: Part) -> Interval:
        """By how much the second is nearer to what is asked."""
        found = compare(self.reports[second.name], self.reports[first.name])
        return found[_FURTHER]

    def __str__(self) -> str:
        """A row a place, the lowest first, with intervals over examples."""
        return "\n\n".join(f"{title}\n{text_table(rows)}" for title, rows in self._tables.items())

    def _repr_html_(self) -> str:
        """The same in a notebook, and the maps."""
        parts = [part for table in self._tables.items() for part in table]
        return plots.notebook_html(*parts, figure=self._draw_maps)

    @property
    def _tables(self) -> dict[str, list[list[str]]]:
        """Cells of each, by its title."""
        rows = [["place", "by itself, above the base", "the whole loses without it"]]
        rows.append(["all", str(self.whole), str(self.whole)])
        rows += [[p.name, str(self.gained(p)), str(self.lost(p))] for p in self.places]
        tables = {"control (TVD nearer to what is asked)": rows}
        if times := [part for part in self.parts if part.kind == TIMES]:
            scaled = [[f"{p.times:g}", str(self._scaled(p))] for p in times]
            tables["the whole adapter by a factor"] = [["times", "control"], *scaled]
        return tables

    def draw(
        self, folder: str | Path, *, trained: Mapping[Place, float] | None = None
    ) -> list[str]:
        """Leave the maps and the curve there; what was written, or why it wasn't.

        Args:
            folder: Where.
            trained: Control above their base's of adapters that were trained in one place alone,
                such as of a sweep: what can be learned in a place, beside what was.
        """
        folder = Path(folder)
        told = [drawn(folder / MAPS_FILE, lambda path: self._draw_maps(path, trained))]
        if any(part.kind == TIMES for part in self.parts):
            told.append(drawn(folder / TIMES_FILE, self._draw_times))
        return told

    def _draw_maps(
        self, path: Path | None = None, trained: Mapping[Place, float] | None = None
    ) -> object:
        """Places of which the interval holds 0 are faint, but those trained alone have none."""
        found = {
            "kept alone": {place: self.gained(place) for place in self.places},
            "lost without": {place: self.lost(place) for place in self.places},
        }
        maps: dict[str, Mapping[Place, float]] = {"trained alone": trained or {}}
        maps |= {name: {at: one.mean for at, one in some.items()} for name, some in found.items()}
        is_there = {
            name: {at: float(one.low > 0 or one.high < 0) for at, one in some.items()}
            for name, some in found.items()
        }
        blocks = sorted({place.block for place in self.places})
        sites = sorted({place.site for place in self.places})
        return plots.layer_maps(
            {name: _laid_out(values, blocks, sites) for name, values in maps.items()},
            blocks,
            sites,
            references={name: {"all": self.whole.mean} for name in found},
            faint={name: _laid_out(some, blocks, sites) == 0 for name, some in is_there.items()},
            path=path,
        )

    def _draw_times(self, path: Path) -> object:
        points = [(part.times, *self._scaled(part)) for part in self.parts if part.kind == TIMES]
        curves = {"an adapter by a factor": {"control": points}}
        levels = {"base": self.control(Part(NONE)), "as trained": self.control(Part(ALL))}
        return plots.layer_curves(curves, ("factor", "control"), levels=levels, path=path)

    def _scaled(self, part: Part) -> Interval:
        """Control, with an interval of its distance alone: the policy's is everybody's."""
        metrics = self.reports[part.name].metrics
        policy, found = metrics["policy_tvd"].mean, metrics[_FURTHER]
        return Interval(self.control(part), policy - found.high, policy - found.low)


def _laid_out(
    values: Mapping[Place, float], blocks: Sequence[int], sites: Sequence[str]
) -> Float[np.ndarray, "blocks sites"]:
    return np.array(
        [[values.get(Place(block, site), np.nan) for site in sites] for block in blocks]
    )
