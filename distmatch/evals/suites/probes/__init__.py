"""Kinds of probes, a file each: what a model says of itself, and what it does."""

from distmatch.evals.suites.probes.acts import Acts
from distmatch.evals.suites.probes.conditions import ConditionsProbe
from distmatch.evals.suites.probes.items_probe import ItemsProbe
from distmatch.evals.suites.probes.line_by_line import LineByLine
from distmatch.evals.suites.probes.llmcomp import read_llmcomp
from distmatch.evals.suites.probes.next_token import NextTokenProbe
from distmatch.evals.suites.probes.options import OptionsProbe
from distmatch.evals.suites.probes.own import OwnProbe
from distmatch.evals.suites.probes.pair_choices import PairChoices
from distmatch.evals.suites.probes.picks import PicksProbe
from distmatch.evals.suites.probes.places import PlacesProbe
from distmatch.evals.suites.probes.probe import Probe
from distmatch.evals.suites.probes.scale import ScaleProbe
from distmatch.evals.suites.probes.scales import ScalesProbe
from distmatch.evals.suites.probes.token_counts import TokensProbe
from distmatch.evals.suites.probes.words import WordsProbe
from distmatch.evals.suites.probes.written import WrittenProbe
from distmatch.evals.suites.probes.written_lines import WrittenLines

__all__ = [
    "Acts",
    "ConditionsProbe",
    "ItemsProbe",
    "LineByLine",
    "NextTokenProbe",
    "OptionsProbe",
    "OwnProbe",
    "PairChoices",
    "PicksProbe",
    "PlacesProbe",
    "Probe",
    "ScaleProbe",
    "ScalesProbe",
    "TokensProbe",
    "WordsProbe",
    "WrittenLines",
    "WrittenProbe",
    "read_llmcomp",
]
