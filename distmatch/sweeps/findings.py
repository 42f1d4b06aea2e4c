"""What the finished cells of a sweep say: gains in its headlines, and at what price."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from distmatch.measuring.intervals import Interval
from distmatch.sweeps.cells import CellPlace
from distmatch.sweeps.headlines import CONTROL, COPYING, MAPPED, Metrics, mean_of
from distmatch.sweeps.results import Measures, Result, Training
from distmatch.sweeps.sets import Sets
from distmatch.sweeps.spread import mean_over, pooled_spread, student_interval


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Cells that differ in their seed alone; means over seeds, with intervals."""

    site: str
    blocks: str
    rank: int
    learning_rate: float
    chosen: bool
    """Whether of the learning rates of its place this is the one with the most control on the
    tuning examples, of those with the most seeds."""
    parameters: int
    cells: tuple[str, ...]
    """Their names, a seed each."""
    gains: Mapping[str, Interval]
    """On the learned examples, by the headlines' names."""
    transfer: Mapping[str, float]
    """Control on the other sets of examples, by name."""
    tuning: float
    """Control on the tuning examples; NaN without any."""
    slope: float
    """Of the given on the asked probabilities: 1 is perfect, 0 ignores the numbers."""
    tvd: float
    kl: float
    """KL(base || adapted) on ordinary text, nats a token."""
    train_seconds: float
    flops: float

    @property
    def num_seeds(self) -> int:
        """How many cells there are."""
        return len(self.cells)

    @property
    def copying(self) -> Interval:
        """How much less goes to none of the words than under the base."""
        return self.gains[COPYING.name]

    @property
    def control(self) -> Interval:
        """How much nearer than the best policy that ignores the numbers."""
        return self.gains[CONTROL.name]

    @property
    def name(self) -> str:
        """As an expression of `distmatch.models.lora`."""
        return self.place.name

    @property
    def place(self) -> CellPlace:
        """Where it learned."""
        return CellPlace(self.site, self.blocks, self.rank)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of its blocks."""
        return self.place.numbers

    @property
    def is_single(self) -> bool:
        """Whether one block alone learned."""
        return self.place.is_single

    def to_json(self) -> dict[str, Any]:
        """As the report's files have it: gains beside the rest."""
        content: dict[str, Any] = {"num_seeds": self.num_seeds}
        for name, value in asdict(self).items():
            content |= value if name == "gains" else {name: value}
        return content


def findings(results: Iterable[Result], base: Sets[Metrics]) -> list[Finding]:
    """What finished cells say, the ones with most control first; those that failed are left out.

    Intervals are Student's, of 95 %, with the spread between seeds of all cells at chosen learning
    rates pooled, since few seeds alone would say little about it; NaN where no cell has two. What
    examples can't tell, such as control where each has one word, is NaN; cells without control
    come last.

    Args:
        results: What came of cells.
        base: The base's metrics.
    """
    tried: dict[tuple[CellPlace, float], _Tried] = {}
    for result in results:
        if result.measures is not None and result.training is not None:
            place, rate = result.cell.place, result.cell.learning_rate
            seeds = tried.setdefault((place, rate), _Tried(place, rate, result.cell.parameters))
            seeds.cells.append(result.cell.name)
            seeds.add(result.measures, result.training, base)
    chosen = _chosen(tried.values())
    best = [tried[place, rate] for place, rate in chosen.items()]
    spreads = {one.name: pooled_spread(seeds.gains[one.name] for seeds in best) for one in MAPPED}
    found = [
        seeds.finding(chosen=chosen[seeds.place] == seeds.rate, spreads=spreads)
        for seeds in tried.values()
    ]
    return sorted(found, key=lambda f: (math.isnan(f.control.mean), -f.control.mean))


class _Tried:
    """A place at one of its learning rates: a value of everything for each seed."""

    def __init__(self, place: CellPlace, rate: float, parameters: int) -> None:
        self.place, self.rate, self.parameters = place, rate, parameters
        self.cells: list[str] = []
        self.gains: dict[str, list[float]] = {headline.name: [] for headline in MAPPED}
        self.transfer: dict[str, list[float]] = {}
        self.rest: dict[str, list[float]] = {}

    def add(self, measures: Measures, training: Training, base: Sets[Metrics]) -> None:
        """Another seed."""
        metrics = measures.metrics
        for headline in MAPPED:
            self.gains[headline.name].append(headline.value(metrics.learned, base.learned))
        for name, of_base in base.transfer.items():
            value = CONTROL.value(metrics.transfer[name], of_base)
            self.transfer.setdefault(name, []).append(value)
        rest = {
            "tuning": _tuning(metrics, base),
            "slope": mean_of(metrics.learned, "slope"),
            "tvd": mean_of(metrics.learned, "tvd"),
            "kl": measures.kl,
            "train_seconds": training.train_seconds,
            "flops": training.flops,
        }
        for name, value in rest.items():
            self.rest.setdefault(name, []).append(value)

    @property
    def merit(self) -> tuple[int, float, float]:
        """What it is chosen by: seeds, control on the tuning examples, and how low it is."""
        mean = mean_over(self.rest["tuning"])
        return len(self.rest["tuning"]), -math.inf if math.isnan(mean) else mean, -self.rate

    def finding(self, *, chosen: bool, spreads: Mapping[str, tuple[float, int]]) -> Finding:
        """What its seeds say together."""
        rest: dict[str, Any] = {name: mean_over(values) for name, values in self.rest.items()}
        return Finding(
            **self.place._asdict(),
            learning_rate=self.rate,
            chosen=chosen,
            parameters=self.parameters,
            cells=tuple(self.cells),
            gains={n: student_interval(values, *spreads[n]) for n, values in self.gains.items()},
            transfer={name: mean_over(values) for name, values in self.transfer.items()},
            **rest,
        )


def _tuning(metrics: Sets[Metrics], base: Sets[Metrics]) -> float:
    """Control on the tuning examples; NaN without any."""
    if base.tuning is None or metrics.tuning is None:
        return math.nan
    return CONTROL.value(metrics.tuning, base.tuning)


def _chosen(tried: Iterable[_Tried]) -> dict[CellPlace, float]:
    """By place the learning rate with most control, of those with the most seeds."""
    best: dict[CellPlace, _Tried] = {}
    for seeds in tried:
        best[seeds.place] = max(best.get(seeds.place, seeds), seeds, key=lambda one: one.merit)
    return {place: seeds.rate for place, seeds in best.items()}
