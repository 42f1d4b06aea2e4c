"""A model + examples, or the names of suites → reports."""

from collections.abc import Iterable, Mapping
from typing import Any, overload

from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import Example
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals.asking import answers_of
from distmatch.evals.report import Report
from distmatch.evals.subject import Subject
from distmatch.evals.suites import SUITES


@overload
def evaluate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    examples: Iterable[Example | Mapping[str, Any]],
    *,
    batch_size: int = 32,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Report: ...


@overload
def evaluate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    *,
    suites: Iterable[str],
    batch_size: int = 32,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Report]: ...


def evaluate(  # noqa: PLR0913
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    examples: Iterable[Example | Mapping[str, Any]] | None = None,
    *,
    suites: Iterable[str] | None = None,
    batch_size: int = 32,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Report | dict[str, Report]:
    """How a model does on examples of yours, or on the library's suites; with intervals.

    Each example is asked once, and once more for each of its rotations.

    Args:
        model: A causal language model, adapted or not; its mode is restored afterwards.
        tokenizer: Its tokenizer.
        examples: Examples, records, or a `datasets.Dataset`.
        suites: Instead of examples: names of `distmatch.evals.SUITES`.
        batch_size: Prompts a forward.
        num_resamples: How often the items are resampled for the intervals.
        seed: Of the resampling, and of what suites draw.
        progress: With progress bars.

    Returns:
        The report; of suites a report each, by name.

    Raises:
        DataError: No examples, or examples that can't be scored, each with its number.
        ConfigError: An unknown suite, or one that lacks what it needs; or both examples and
            suites, or neither.
    """
    if (examples is None) == (suites is None):
        raise ConfigError("give either examples or suites to evaluate")
    settings = {"num_resamples": num_resamples, "seed": seed}
    if examples is not None:
        bar = "evaluating" if progress else None
        answers = answers_of(model, tokenizer, examples, batch_size=batch_size, progress=bar)
        return Report.of(answers, **settings)
    names = checked_suites(suites or ())
    subject = Subject(
        model=model, tokenizer=tokenizer, batch_size=batch_size, seed=seed, progress=progress
    )
    return {name: Report.of(SUITES[name].measure(subject), **settings) for name in names}


def checked_suites(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, in their order.

    Raises:
        DistmatchError: None at all, one string for a list, one that isn't of `SUITES`, or one that
            lacks what it needs.
    """
    if isinstance(names, str):
        raise ConfigError(f'suites is the string "{names}": give a list, ["{names}"]')
    names = tuple(dict.fromkeys(names))
    if not names:
        raise ConfigError(f"suites is empty: name some of {', '.join(SUITES)}")
    for name in names:
        if name not in SUITES:
            raise ConfigError(unknown_name("suite", name, SUITES))
    for name in names:
        SUITES[name].check()
    return names
