"""What was measured of a model on some examples: metrics with intervals, and every answer."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from distmatch.errors import DataError, unknown_name

READING = {
    "tvd": "lower is better; words and other",
    "forward_kl": "lower is better; nats, words and other",
    "other": "none of the words; lower is more copying",
    "control_tvd": "lower is better; over the words alone",
    "slope": "1 is perfect, 0 ignores the numbers",
    "swap_gap": "lower is better; a fixed preference",
    "policy_tvd": "best without the numbers; control to beat",
    "within_0.05": "higher is better; share of examples",
    "within_0.10": "higher is better; share of examples",
    "within_0.20": "higher is better; share of examples",
}
"""How each metric is to be read."""

CONFIDENCE = 0.95
_CHUNK = 1 << 22


class Interval(NamedTuple):
    """A metric over all examples, and where 95 % of its bootstrap resamples lie.

    NaN where no example has the metric.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Three digits, as in the tables."""
        if not math.isfinite(self.mean):
            return "-" if math.isnan(self.mean) else "inf"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """What was measured of each example; in every array the first axis is the examples'."""

    words: tuple[tuple[str, ...], ...]
    metadata: tuple[dict[str, Any], ...]
    asked: Float[np.ndarray, "examples words"]
    """Renormalised over the words. NaN where an example has fewer words, and for an example that
    says nothing about control: of one word, or whose words are asked for with probability 0."""
    given: Float[np.ndarray, "examples words"]
    """What the model gives, likewise."""
    target: Float[np.ndarray, "examples support"]
    """Wanted of the words and, last, of other; 0 where an example has fewer words."""
    probs: Float[np.ndarray, "examples support"]
    """What the model gives, likewise; renormalised over the words where other is free."""
    other: Float[np.ndarray, " examples"]
    """The model's probability of none of the words, never renormalised."""
    ratios: Mapping[str, tuple[Float[np.ndarray, " examples"], Float[np.ndarray, " examples"]]]
    """Each metric's numerators and denominators."""

    def subset(self, rows: Sequence[int]) -> "Measurements":
        """Some of the examples, in the given order."""
        index = np.asarray(rows, dtype=int)
        return Measurements(
            words=tuple(self.words[row] for row in rows),
            metadata=tuple(self.metadata[row] for row in rows),
            asked=self.asked[index],
            given=self.given[index],
            target=self.target[index],
            probs=self.probs[index],
            other=self.other[index],
            ratios={name: (n[index], d[index]) for name, (n, d) in self.ratios.items()},
        )


@dataclass(frozen=True, eq=False)
class Report:
    """A model's metrics on some examples.

    `print(report)` shows the table. `asked`, `given` and `other` are what
    `distmatch.plots.calibration` draws.
    """

    metrics: dict[str, Interval]
    """By name, in the order of `distmatch.losses.metrics.METRICS`."""
    examples: Measurements
    num_resamples: int
    seed: int

    @classmethod
    def of(cls, examples: Measurements, *, num_resamples: int = 1000, seed: int = 0) -> "Report":
        """The report of some measurements, resampled by example: its words stay together."""
        return cls(_intervals(examples.ratios, num_resamples, seed), examples, num_resamples, seed)

    @property
    def num_examples(self) -> int:
        """How many examples were asked, rotations not counted."""
        return len(self.examples.words)

    @property
    def asked(self) -> Float[np.ndarray, "examples words"]:
        """Asked probabilities renormalised over the words, padded with NaN."""
        return self.examples.asked

    @property
    def given(self) -> Float[np.ndarray, "examples words"]:
        """Given probabilities renormalised over the words, padded with NaN."""
        return self.examples.given

    @property
    def other(self) -> Float[np.ndarray, " examples"]:
        """The model's probability of none of an example's words."""
        return self.examples.other

    def by(self, key: str) -> dict[Any, "Report"]:
        """A report for each value of a metadata key, such as "wording", "num_words" or "phrasing".

        Nothing is asked again, and `policy_tvd` keeps the policy that is best on all examples.
        Examples without the key go under None.

        Raises:
            DataError: No example has this key.
        """
        known = dict.fromkeys(name for metadata in self.examples.metadata for name in metadata)
        if key not in known:
            raise DataError(unknown_name("metadata key", key, known))
        groups: dict[Any, list[int]] = {}
        for row, metadata in enumerate(self.examples.metadata):
            groups.setdefault(metadata.get(key), []).append(row)
        are_numbers = all(isinstance(value, int | float) for value in groups)
        settings = {"num_resamples": self.num_resamples, "seed": self.seed}
        return {
            value: Report.of(self.examples.subset(groups[value]), **settings)
            for value in sorted(groups, key=None if are_numbers else str)
        }

    def rows(self) -> list[dict[str, Any]]:
        """One plain dict an example: its words, what was asked and given, its metadata."""
        examples = self.examples
        return [
            {
                "words": list(words),
                "asked": _plain(examples.target[row, : len(words)]),
                "asked_other": _plain(examples.target[row, -1]),
                "given": _plain(examples.probs[row, : len(words)]),
                "given_other": _plain(examples.other[row]),
                "asked_over_words": _plain(examples.asked[row, : len(words)]),
                "given_over_words": _plain(examples.given[row, : len(words)]),
                **{name: self._of_row(name, row) for name in ("tvd", "control_tvd", "swap_gap")},
                "metadata": examples.metadata[row],
            }
            for row, words in enumerate(examples.words)
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain dicts, lists and numbers; None for what is undefined."""
        return {
            "num_examples": self.num_examples,
            "confidence": CONFIDENCE,
            "num_resamples": self.num_resamples,
            "seed": self.seed,
            "metrics": {
                name: {part: _plain(value) for part, value in interval._asdict().items()}
                for name, interval in self.metrics.items()
            },
            "examples": self.rows(),
        }

    def save(self, path: str | Path) -> None:
        """Write it as JSON, replacing the file only when all is written."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        text = json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, indent=1)
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)

    def table(self) -> str:
        """The metrics as text, with intervals and how to read each."""
        return comparison_table({f"{self.num_examples} examples": self})

    def __str__(self) -> str:
        """The table."""
        return self.table()

    def _of_row(self, name: str, row: int) -> float | None:
        numerators, denominators = self.examples.ratios[name]
        return _plain(numerators[row]) if denominators[row] else None


def comparison_table(reports: Mapping[str, Report]) -> str:
    """Reports side by side: a row a metric, a column a report, and how to read the metric.

    Args:
        reports: By what their column is to be called, such as "before" and "after".
    """
    names = list(next(iter(reports.values())).metrics) if reports else []
    rows = [["metric", *reports, ""]]
    for name in names:
        cells = [str(report.metrics[name]) for report in reports.values()]
        rows.append([name, *cells, READING.get(name, "")])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _intervals(
    ratios: Mapping[str, tuple[np.ndarray, np.ndarray]], num_resamples: int, seed: int
) -> dict[str, Interval]:
    """Percentile bootstrap of every metric, all on the same resamples of the examples."""
    numerators = np.stack([numerator for numerator, _ in ratios.values()], axis=1, dtype=float)
    denominators = np.stack(
        [denominator for _, denominator in ratios.values()], axis=1, dtype=float
    )
    size = len(numerators)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // size)
    draws = []
    with np.errstate(divide="ignore", invalid="ignore"):
        means = numerators.sum(0) / denominators.sum(0)
        for start in range(0, num_resamples, chunk):
            count = min(chunk, num_resamples - start)
            weights = rng.multinomial(size, np.full(size, 1 / size), size=count).astype(float)
            draws.append((weights @ numerators) / (weights @ denominators))
    resampled = np.concatenate(draws) if draws else np.empty((0, len(ratios)))
    return {
        name: _interval(float(means[column]), resampled[:, column])
        for column, name in enumerate(ratios)
    }


def _interval(mean: float, draws: np.ndarray) -> Interval:
    draws = draws[np.isfinite(draws)]  # a resample may hold no example that has the metric
    if not math.isfinite(mean) or not len(draws):
        return Interval(mean, math.nan, math.nan)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Interval(mean, float(low), float(high))


def _plain(value: Any) -> Any:
    """An array or number as JSON has it."""
    if isinstance(value, np.ndarray) and value.ndim:
        return [_plain(item) for item in value]
    # Through str: a float32 0.46 is 0.46, not 0.46000000834.
    return float(str(value)) if math.isfinite(value) else None
