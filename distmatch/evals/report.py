"""Metrics with intervals, of the items they were measured on; saved and read back."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from distmatch.data.jsonl import value_key
from distmatch.errors import DataError, unknown_name
from distmatch.evals.intervals import CONFIDENCE, Interval, intervals
from distmatch.evals.items import Answers, Items, items_of, plain

READING = {
    "tvd": "lower is better; words and other",
    "tvd_low": "the least that bounds on the answers allow",
    "tvd_high": "the most that bounds on the answers allow",
    "forward_kl": "lower is better; nats, words and other",
    "other": "none of the words; lower is more copying",
    "control_tvd": "lower is better; over the words alone",
    "slope": "1 is perfect, 0 ignores the numbers",
    "swap_gap": "lower is better; a fixed preference",
    "policy_tvd": "best without the numbers; control to beat",
    "within_0.05": "higher is better; share of examples",
    "within_0.10": "higher is better; share of examples",
    "within_0.20": "higher is better; share of examples",
    "first_tvd": "the same of an answer's first word alone",
    "spread": "TVD of the answer behind one thought from the mean of all",
    "thought_tokens": "tokens before an answer",
    "cut_off": "share of thoughts that were too long",
    "wasserstein1": "lower is better; steps between neighbouring outcomes",
    "rare": "higher is better; both words rare",
    "same_pair": "lower is better; other prompts answered with the same two words",
    "excess": "lower is better; probability above the bound",
    "policy_excess": "of the model's own answer without the instruction",
    "suppressed": "higher is better; within the bound, or below 1 %",
    "answer": "probability of what is to be suppressed",
    "unasked": "the same without an instruction; should stay",
    "kl": "lower is better; nats from the base, a token",
    "slot_tvd": "lower is better; from the base, at the answer's first token",
    "accuracy": "of the next token",
    "base_accuracy": "of the next token, adapters off",
    "unexplored": "probability of answers not looked at",
    "reference": "higher is better; passed by the rule of SAD's authors",
    "identity": "higher is better; the words themselves within the tolerance",
    "correct": "higher is better; the right choice is likelier than any other",
    "correct_low": "the least that bounds on the answers allow",
    "correct_high": "the most that bounds on the answers allow",
    "chance": "correct by guessing; to beat",
    "correct_prob": "higher is better; probability of the right choice",
    "correct_share": "the same over the choices alone",
    "on_time": "higher is better; first other word in the window, and unlikely",
    "in_window": "higher is better; first other word in the window",
    "unlikely": "of first other words, those the base doesn't expect",
    "too_early": "lower is better; first other word before the window",
    "never": "lower is better; no other word up to the window's end",
    "cut": "share of answers cut off before the window's end, all right so far",
    "by_chance": "on_time where no deviation is asked; control to beat",
    "follows": "the text through the window where no deviation is asked",
}
"""How each metric is to be read."""

_BY_GROUP_LEFT_OUT = ("forward_kl", "swap_gap", "within_0.05", "within_0.20")


@dataclass(frozen=True, eq=False)
class Report:
    """A model's metrics on some items.

    `print(report)` shows the table. `asked`, `given` and `other` are what
    `distmatch.plots.calibration` draws.
    """

    metrics: dict[str, Interval]
    """By name; of answers in the order of `distmatch.losses.metrics.METRICS`."""
    examples: Items
    num_resamples: int
    seed: int

    @classmethod
    def of(cls, examples: Items, *, num_resamples: int = 1000, seed: int = 0) -> "Report":
        """The report of some items, resampled by item or cluster: an example's words together."""
        metrics = intervals(examples.resampled, num_resamples, seed)
        return cls(metrics, examples, num_resamples, seed)

    @property
    def num_examples(self) -> int:
        """How many items were asked, rotations not counted."""
        return len(self.examples)

    @property
    def asked(self) -> Float[np.ndarray, "examples words"]:
        """Asked probabilities renormalised over the words, padded with NaN."""
        return self.answers.asked

    @property
    def given(self) -> Float[np.ndarray, "examples words"]:
        """Given probabilities renormalised over the words, padded with NaN."""
        return self.answers.given

    @property
    def other(self) -> Float[np.ndarray, " examples"]:
        """The model's probability of none of an example's words."""
        return self.answers.other

    @property
    def answers(self) -> Answers:
        """The items, if they ask for distributions over words.

        Raises:
            DataError: They don't.
        """
        if not isinstance(self.examples, Answers):
            raise DataError("the report's items ask for no distribution over words")
        return self.examples

    def by(self, key: str) -> dict[Any, "Report"]:
        """A report for each value of a metadata key, such as "wording", "num_words" or "phrasing".

        Numbers come in their order, other values as they appear; items without the key go under
        None, lists and objects under their JSON. Nothing is asked again; `policy_tvd` of answers is
        that of the policy that is best on each group.

        Raises:
            DataError: No item has this key.
        """
        known = dict.fromkeys(name for metadata in self.examples.metadata for name in metadata)
        if key not in known:
            raise DataError(unknown_name("metadata key", key, known))
        values: dict[str, Any] = {}
        groups: dict[str, list[int]] = {}
        for row, metadata in enumerate(self.examples.metadata):
            name = value_key(value := metadata.get(key))
            values.setdefault(name, value)
            groups.setdefault(name, []).append(row)
        reports: dict[Any, Report] = {}
        for name in (
            sorted(groups, key=values.__getitem__) if _have_order(values.values()) else groups
        ):
            reports[_key(values[name], name, reports)] = self.of_items(groups[name])
        return reports

    def of_items(self, rows: Sequence[int]) -> "Report":
        """The report of some of the items, by their numbers; nothing is asked again."""
        settings = {"num_resamples": self.num_resamples, "seed": self.seed}
        return Report.of(self.examples.subset(rows), **settings)

    def groups(self) -> dict[str, "Report"]:
        """A report for each group of a suite; of other examples none."""
        has_groups = any("group" in metadata for metadata in self.examples.metadata)
        return self.by("group") if has_groups else {}

    def rows(self) -> list[dict[str, Any]]:
        """One plain dict an item: of an example its words, asked and given; metrics, metadata."""
        return [self.examples.row(index) for index in range(len(self.examples))]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain dicts, lists and numbers; None for what is undefined or infinite."""
        return {
            "num_examples": self.num_examples,
            "confidence": CONFIDENCE,
            "num_resamples": self.num_resamples,
            "seed": self.seed,
            "metrics": {
                name: {part: plain(value) for part, value in interval._asdict().items()}
                for name, interval in self.metrics.items()
            },
            "ratios": {
                name: {"numerators": plain(top), "denominators": plain(bottom)}
                for name, (top, bottom) in self.examples.ratios.items()
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

    @classmethod
    def load(cls, path: str | Path) -> "Report":
        """A report as `save` wrote it.

        Raises:
            DataError: The file is missing, or holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            examples = items_of(content)
            settings = {name: content[name] for name in ("num_resamples", "seed")}
        except OSError as error:
            raise DataError(f"can't read the report {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is not a saved report: {error!r}") from error
        return cls.of(examples, **settings)

    def table(self) -> str:
        """The metrics as text, with intervals and how to read each."""
        return comparison_table({f"{self.num_examples} examples": self})

    def group_table(self) -> str:
        """The main metrics of every group of a suite, a row each, and of all."""
        metrics = [name for name in self.metrics if name not in _BY_GROUP_LEFT_OUT]
        rows = [["group", "items", *metrics]]
        for name, report in {**self.groups(), "all": self}.items():
            values = [str(report.metrics[metric]) for metric in metrics]
            rows.append([str(name), str(report.num_examples), *values])
        return text_table(rows)

    def __str__(self) -> str:
        """The table."""
        return self.table()


def _have_order(values: Iterable[Any]) -> bool:
    values = list(values)
    is_bool = {isinstance(value, bool) for value in values}
    are_numbers = all(isinstance(value, int | float) and value == value for value in values)
    return are_numbers and len(is_bool) == 1


def _key(value: Any, text: str, taken: Collection[Any]) -> Any:
    """The value, or its JSON where it is no key, or the same as another one (True and 1)."""
    try:
        return text if value in taken else value
    except TypeError:
        return text


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
    return text_table(rows)


def text_table(rows: list[list[str]]) -> str:
    """Rows of cells as aligned text, the first of them a header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ruled
    )
