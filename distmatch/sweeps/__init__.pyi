from .cells import Cell as Cell
from .cells import Grid as Grid
from .layer_sweep import sweep as sweep
from .outcome import Sweep as Sweep
from .outcome import read_sweep as read_sweep
from .report import write_report as write_report
