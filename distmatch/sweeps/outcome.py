"""What came of a sweep so far: its folder read, without a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from distmatch import plots
from distmatch.errors import ConfigError, listed
from distmatch.sweeps.correlations import Correlation, probe_correlations
from distmatch.sweeps.findings import Finding, findings
from distmatch.sweeps.folder import SETTINGS_FILE
from distmatch.sweeps.headlines import Metrics
from distmatch.sweeps.measures import read_base
from distmatch.sweeps.probe import ProbeScore, read_scores
from distmatch.sweeps.rates import check_rates
from distmatch.sweeps.record import recorded_sets
from distmatch.sweeps.results import read_results
from distmatch.sweeps.sets import TUNING, Sets
from distmatch.sweeps.suite_maps import SuiteMap, read_suite_maps, suites_table
from distmatch.sweeps.tables import (
    cells_rows,
    cells_table,
    correlations_table,
    missing,
    rates_table,
    sites_table,
)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What came of a sweep."""

    folder: Path
    findings: list[Finding]
    """With most control first."""
    base: Sets[Metrics]
    """The base's metrics."""
    scores: Sequence[ProbeScore] = ()
    """Of the probe; empty: it isn't there."""
    suites: Sequence[SuiteMap] = ()
    """What the base and places were asked besides."""
    failed: dict[str, str]
    """Why a cell has no finding, by its name."""
    passed_over: Sequence[str] = ()
    """What is wrong with lines of results that can't be read."""
    written: tuple[str, ...] = ()
    """Which files there are of its report, or why one isn't; empty: it wasn't written."""
    elsewhere: tuple[str, ...] = ()
    """Cells that were left out since other processes are at work on them."""

    @property
    def chosen(self) -> list[Finding]:
        """Each place at the learning rate that was chosen for it."""
        return [f for f in self.findings if f.chosen]

    @cached_property
    def last_block(self) -> int:
        """The number of the model's last; without a probe, of the last that has learned."""
        learned = [f.numbers[-1] for f in self.chosen]
        return max([0, *learned, *(score.block for score in self.scores)])

    def is_whole(self, finding: Finding) -> bool:
        """Whether it is of all sites in all blocks, which others are held against."""
        return finding.site == "all" and finding.numbers == tuple(range(self.last_block + 1))

    @property
    def whole(self) -> Finding | None:
        """What others are held against."""
        return next(filter(self.is_whole, self.chosen), None)

    @cached_property
    def correlations(self) -> list[Correlation]:
        """Of the probe with what was gained."""
        return probe_correlations(self.chosen, self.scores)

    @property
    def report(self) -> str:
        """Its tables, and what is missing in them."""
        if not self.findings:
            left_out = missing(self.failed, self.passed_over)
            return "\n".join(filter(None, ["no cells yet", left_out]))
        return "\n\n".join(filter(None, [cells_table(self.chosen, self.base), self._further]))

    @property
    def _further(self) -> str:
        """What stands below the table of cells."""
        tables = [
            rates_table(self.findings),
            sites_table([f for f in self.chosen if not self.is_whole(f)]),
            suites_table(self.suites, self.chosen),
            correlations_table(self.correlations),
            missing(self.failed, self.passed_over),
        ]
        return "\n\n".join(filter(None, tables))

    def __str__(self) -> str:
        """The report, its files, and what others are at work on."""
        return "\n".join([self.report, *([""] if self.written else []), *self._around])

    def _repr_html_(self) -> str:
        """The same in a notebook, and the maps."""
        from distmatch.sweeps.figures import draw_maps  # of a sweep

        if not self.findings:
            return plots.notebook_html(str(self))
        parts = cells_rows(self.chosen, self.base), self._further, "\n".join(self._around)
        return plots.notebook_html(*parts, figure=lambda: draw_maps(self))

    @property
    def _around(self) -> list[str]:
        at_work = f"others are at work on {listed(self.elsewhere)}" if self.elsewhere else ""
        return [*self.written, *filter(None, [at_work])]


def read_sweep(folder: str | Path) -> Sweep:
    """What came of a sweep so far; nothing is written.

    Args:
        folder: The sweep's, also of one that is running.

    Raises:
        ConfigError: It holds no sweep, one that was stopped before its base was measured, several
            learning rates with nothing to choose between them by, or files that can't be read.
    """
    folder = Path(folder)
    if not (folder / SETTINGS_FILE).is_file():
        raise ConfigError(f"{folder} holds no sweep (no {SETTINGS_FILE}): give a sweep's folder")
    names = recorded_sets(folder)
    if TUNING not in names:  # of two processes that began at once with different ones
        check_rates(folder, [])
    base = read_base(folder, names)
    scores = read_scores(folder)
    results, wrong = read_results(folder)
    found = findings(results.values(), base)
    return Sweep(
        folder=folder,
        findings=found,
        base=base,
        scores=scores,
        suites=read_suite_maps(folder, [f for f in found if f.chosen]),
        failed={n: one.failed for n, one in results.items() if one.failed is not None},
        passed_over=wrong,
    )
