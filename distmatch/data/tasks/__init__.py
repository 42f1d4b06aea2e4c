"""Task generators, one a file: each returns train and test examples."""

from distmatch.data.tasks.deviation import Deviation
from distmatch.data.tasks.numbers import Numbers
from distmatch.data.tasks.output_control import OutputControl, output_control
from distmatch.data.tasks.sequence import Sequences
from distmatch.data.tasks.suppression import Suppression

__all__ = ["Deviation", "Numbers", "OutputControl", "Sequences", "Suppression", "output_control"]
