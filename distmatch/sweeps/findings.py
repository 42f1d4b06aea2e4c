"""What the finished cells of a sweep say: gains in copying and in control, and at what price.

*Copying* is how much less probability goes to none of the words than under the base. *Control* is
how much nearer the distribution over the words is to what is asked than that of the best policy
that can't read the numbers (TVD, renormalised). 0 or less is no better than that policy, which
a model that reads the numbers can be too, such as one that always says the likelier word. The
*slope* of the given on the asked probabilities tells these apart.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from distmatch.measuring.intervals import Interval

TUNING = "tuning"
"""The examples that learning rates are chosen by, as their metrics are called."""

Row = Mapping[str, Any]
"""A line of results."""


class Place(NamedTuple):
    """What cells of other seeds and learning rates may share."""

    site: str
    blocks: str
    rank: int

    @property
    def name(self) -> str:
        """Site and blocks, as an expression of `distmatch.models.lora`."""
        return f"{self.site}@{self.blocks}"


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
    num_seeds: int
    copying: Interval
    control: Interval
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
    def name(self) -> str:
        """As an expression of `distmatch.models.lora`."""
        return self.place.name

    @property
    def place(self) -> Place:
        """Where it learned."""
        return Place(self.site, self.blocks, self.rank)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of its blocks."""
        return block_numbers(self.blocks)


def block_numbers(blocks: str) -> tuple[int, ...]:
    """The numbers of a cell's blocks: `"12"`, `"0-7"`, `"0,3,6"`."""
    numbers: list[int] = []
    for part in blocks.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


def findings(rows: Iterable[Row], base: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """What finished cells say, the ones with most control first; those that failed are left out.

    Intervals are Student's, of 95 %, with the spread between seeds of all cells at chosen learning
    rates pooled, since few seeds alone would say little about it; NaN where no cell has two. What
    examples can't tell, such as control where each has one word, is NaN; cells without control
    come last.

    Args:
        rows: Lines of results.
        base: The base's metrics, by name of the examples; the first is what is learned, `TUNING`
            what learning rates are chosen by, if it is there.
    """
    groups: dict[tuple[Place, float], list[Row]] = {}
    for row in rows:
        if "metrics" in row:
            groups.setdefault((place_of(row), row["learning_rate"]), []).append(row)
    first, *others = base
    values = {
        "copying": {
            key: [_copying(row["metrics"][first], base[first]) for row in some]
            for key, some in groups.items()
        },
        "control": {
            key: [control(row["metrics"][first]) for row in some] for key, some in groups.items()
        },
        "tuning": {
            key: [control(row["metrics"][TUNING]) if TUNING in base else math.nan for row in some]
            for key, some in groups.items()
        },
    }
    chosen = _chosen(values["tuning"])
    spreads = {
        name: pooled_spread(values[name][place, rate] for place, rate in chosen.items())
        for name in ("copying", "control")
    }
    found = [
        Finding(
            site=place.site,
            blocks=place.blocks,
            rank=place.rank,
            learning_rate=rate,
            chosen=chosen[place] == rate,
            parameters=some[0]["parameters"],
            num_seeds=len(some),
            copying=student_interval(values["copying"][place, rate], *spreads["copying"]),
            control=student_interval(values["control"][place, rate], *spreads["control"]),
            transfer={
                name: _mean(control(row["metrics"][name]) for row in some)
                for name in others
                if name != TUNING
            },
            tuning=_mean(values["tuning"][place, rate]),
            slope=_mean(metric(row["metrics"][first], "slope") for row in some),
            tvd=_mean(metric(row["metrics"][first], "tvd") for row in some),
            kl=_mean(row["kl"] for row in some),
            train_seconds=_mean(row["train_seconds"] for row in some),
            flops=_mean(row["flops"] for row in some),
        )
        for (place, rate), some in groups.items()
    ]
    return sorted(found, key=lambda f: (math.isnan(f.control.mean), -f.control.mean))


def place_of(row: Row) -> Place:
    """Where a cell learned.

    Args:
        row: Its line, or what of it is the cell.
    """
    return Place(row["site"], row["blocks"], row["rank"])


def _chosen(tuning: Mapping[tuple[Place, float], Sequence[float]]) -> dict[Place, float]:
    """By place the learning rate with most control, of those with the most seeds."""
    best: dict[Place, tuple[int, float, float]] = {}
    for (place, rate), values in tuning.items():
        mean = _mean(values)
        merit = len(values), -math.inf if math.isnan(mean) else mean, -rate
        best[place] = max(merit, best.get(place, merit))
    return {place: -rate for place, (_, _, rate) in best.items()}


def metric(metrics: Mapping[str, Any], name: str) -> float:
    """One of a report's metrics; NaN where it says nothing, which JSON has as null."""
    value = metrics[name]["mean"]
    return math.nan if value is None else value


def control(metrics: Mapping[str, Any]) -> float:
    """How much nearer than the best policy that ignores the numbers; TVD over the words.

    NaN where no example tells, such as where each has one word.
    """
    return metric(metrics, "policy_tvd") - metric(metrics, "control_tvd")


def pooled_spread(samples: Iterable[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation within samples, all taken together, and its degrees of freedom.

    Args:
        samples: Of each cell its values, one a seed; those of a cell with a NaN don't count.
    """
    squares, freedom = 0.0, 0
    for values in samples:
        if any(map(math.isnan, values)):
            continue
        mean = _mean(values)
        squares += sum((value - mean) ** 2 for value in values)
        freedom += len(values) - 1
    return (math.sqrt(squares / freedom) if freedom else math.nan), freedom


def student_interval(values: Sequence[float], spread: float, freedom: int) -> Interval:
    """Student's interval of 95 % for a mean, given the spread of what it is taken over.

    Args:
        values: Such as one a seed.
        spread: Standard deviation between them.
        freedom: Its degrees of freedom; 0: there is no interval.
    """
    mean = _mean(values)
    if not freedom:
        return Interval(mean, math.nan, math.nan)
    from scipy.stats import t  # takes a second to import

    half = float(t.ppf(0.975, freedom)) * spread / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def _copying(metrics: Mapping[str, Any], base: Mapping[str, Any]) -> float:
    return metric(base, "other") - metric(metrics, "other")


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return math.fsum(values) / len(values)
