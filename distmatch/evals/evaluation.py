"""A model + examples of yours → a report."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import Example
from distmatch.evals.local import LocalModel
from distmatch.evals.report import Report
from distmatch.evals.suite import measure
from distmatch.evals.suites.examples import OwnExamples


def evaluate(  # noqa: PLR0913 - what is asked, of whom, and how
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    examples: Iterable[Example | Mapping[str, Any]],
    *,
    batch_size: int = 32,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
    precision: str | None = None,
) -> Report:
    """How a model does on examples of yours, with intervals.

    Each example is asked once, and once more for each of its rotations. The library's own
    questions, and models without weights, go through `distmatch.evals.measure`.

    Args:
        model: A causal language model, adapted or not; its mode is restored afterwards.
        tokenizer: The model's.
        examples: Examples, records, or a `datasets.Dataset`.
        batch_size: Prompts a forward.
        num_resamples: How often the examples are resampled for the intervals.
        seed: Of the resampling.
        progress: With a progress bar.
        precision: `"bfloat16"` or `"float16"`: as in mixed training; None: the model's own.

    Raises:
        ConfigError: An unknown precision.
        DataError: No examples, or examples that can't be scored, each with its number.
    """
    subject = LocalModel(
        model=model,
        tokenizer=tokenizer,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
        precision=precision,
    )
    return measure(subject, OwnExamples(rows=examples), num_resamples=num_resamples)
