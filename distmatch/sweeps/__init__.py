"""Which layers learn it: one adapter a cell of sites x blocks x seeds."""

from distmatch.sweeps.cells import Cell, Grid
from distmatch.sweeps.outcome import Sweep, read_sweep
from distmatch.sweeps.report import write_report
from distmatch.sweeps.sweep import sweep

__all__ = ["Cell", "Grid", "Sweep", "read_sweep", "sweep", "write_report"]
