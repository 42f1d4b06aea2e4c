"""Examples + bounds on what was answered → answers with every metric, and what is known of each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from distmatch.data.examples import Example
from distmatch.evals.backends.bounds import Bounds, over_words, tvd_bounds
from distmatch.evals.items import Answers
from distmatch.losses.words import WordLogProbs
from distmatch.measuring.metrics import Outcomes, metric_ratios


def bounded_answers(
    examples: Sequence[Example], measured: Sequence[Bounds], rotation_of: Sequence[int]
) -> Answers:
    """Answers with the estimates' metrics, and `tvd_low` and `tvd_high`; `said` has the bounds.

    Args:
        examples: What was asked.
        measured: Of each example, then of each rotation.
        rotation_of: Which example each rotation belongs to.
    """
    own, rotated = measured[: len(examples)], measured[len(examples) :]
    width = max(len(example.target.words) for example in examples)
    target = torch.zeros(len(examples), width + 1, dtype=torch.float64)
    is_word = torch.zeros(len(examples), width, dtype=torch.bool)
    for row, example in enumerate(examples):
        count = len(example.target.words)
        target[row, :count] = torch.tensor(example.target.probs, dtype=torch.float64)
        target[row, -1] = example.target.other_prob
        is_word[row, :count] = True
    is_free = torch.tensor([example.target.other == "free" for example in examples])
    outcomes = Outcomes(_log_probs(own, width), target, is_word, is_free)
    rows = torch.tensor(rotation_of, dtype=torch.long)
    ratios = metric_ratios(outcomes, _log_probs(rotated, width), rows)
    answers = Answers.of(examples, outcomes, ratios)
    lows, highs = np.array([_tvds(*pair) for pair in zip(examples, own, strict=True)]).T
    ones = np.ones(len(examples))
    first = {"tvd": answers.ratios["tvd"], "tvd_low": (lows, ones), "tvd_high": (highs, ones)}
    return replace(
        answers,
        ratios={**first, **answers.ratios},
        said=tuple(_known(bounds) for bounds in own),
    )


def _log_probs(measured: Sequence[Bounds], width: int) -> WordLogProbs:
    words = torch.zeros(len(measured), width, dtype=torch.float64)
    other = torch.zeros(len(measured), dtype=torch.float64)
    for row, bounds in enumerate(measured):
        words[row, : len(bounds.point) - 1] = torch.from_numpy(bounds.point[:-1])
        other[row] = float(bounds.point[-1])
    return WordLogProbs(words.log(), other.log())


def _tvds(example: Example, bounds: Bounds) -> tuple[float, float]:
    low, high = bounds.low, bounds.high
    if example.target.other == "free":
        low, high = over_words(low, high)
    return tvd_bounds(low, high, np.array([*example.target.probs, example.target.other_prob]))


def _known(bounds: Bounds) -> dict[str, Any]:
    """The bounds as plain JSON."""
    sides = {"low": bounds.low, "high": bounds.high}
    return {
        **{side: values[:-1].tolist() for side, values in sides.items()},
        **{f"{side}_other": float(values[-1]) for side, values in sides.items()},
        "unmeasured": list(bounds.unmeasured),
    }
