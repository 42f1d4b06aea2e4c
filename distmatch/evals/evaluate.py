"""A model + examples, or the names of suites → reports."""

from collections.abc import Iterable, Mapping
from typing import Any, overload

from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import Example
from distmatch.data.jsonl import to_examples
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals.asking import answers_of
from distmatch.evals.report import Report
from distmatch.evals.subject import Backend, LocalModel, Subject
from distmatch.evals.suites import SUITES


@overload
def evaluate(
    model: nn.Module | Backend,
    tokenizer: PreTrainedTokenizerBase | None,
    examples: Iterable[Example | Mapping[str, Any]],
    *,
    batch_size: int = 32,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Report: ...


@overload
def evaluate(
    model: nn.Module | Backend,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    examples: Iterable[Example | Mapping[str, Any]],
    batch_size: int = 32,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Report: ...


@overload
def evaluate(
    model: nn.Module | Backend,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    suites: Iterable[str],
    batch_size: int = 32,
    num_resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Report]: ...


def evaluate(  # noqa: PLR0913
    model: nn.Module | Backend,
    tokenizer: PreTrainedTokenizerBase | None = None,
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
        model: A causal language model, adapted or not; its mode is restored afterwards. Or an
            `Endpoint`, for a model whose weights aren't here.
        tokenizer: The model's; an endpoint needs none.
        examples: Examples, records, or a `datasets.Dataset`.
        suites: Instead of examples: names of `distmatch.evals.SUITES`.
        batch_size: Prompts a forward; an endpoint has limits of its own.
        num_resamples: How often the items are resampled for the intervals.
        seed: Of the resampling, of what suites draw, and of what an endpoint draws.
        progress: With progress bars.

    Returns:
        The report; of suites a report each, by name.

    Raises:
        DataError: No examples, or examples that can't be scored, each with its number.
        ConfigError: An unknown suite, or one that lacks what it needs; both examples and suites,
            or neither; a model without a tokenizer, or an endpoint with one.
        EndpointError: An endpoint that doesn't answer, or not as it should.
        BudgetError: An endpoint's limits are reached.
    """
    if (examples is None) == (suites is None):
        raise ConfigError("give either examples or suites to evaluate")
    settings = {"num_resamples": num_resamples, "seed": seed}
    how: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "progress": progress}
    subject = _subject(model, tokenizer, how)
    if examples is None:
        names = checked_suites(suites or (), weights=isinstance(subject, LocalModel))
        return {name: Report.of(SUITES[name].measure(subject), **settings) for name in names}
    if isinstance(subject, LocalModel):
        bar = "evaluating" if progress else None
        asked = subject.model, subject.tokenizer
        answers = answers_of(*asked, examples, batch_size=batch_size, progress=bar)
    else:
        answers = subject.answers(to_examples(examples), "evaluating")
    return Report.of(answers, **settings)


def _subject(
    model: nn.Module | Backend, tokenizer: PreTrainedTokenizerBase | None, how: Mapping[str, Any]
) -> LocalModel | Subject:
    if isinstance(model, nn.Module):
        if tokenizer is None:
            raise ConfigError("a model needs its tokenizer: evaluate(model, tokenizer, ...)")
        return LocalModel(model=model, tokenizer=tokenizer, **how)
    if tokenizer is not None:
        raise ConfigError("an endpoint has a tokenizer of its own: leave yours out")
    return model.subject(seed=how["seed"], progress=how["progress"])


def checked_suites(names: Iterable[str], *, weights: bool = True) -> tuple[str, ...]:
    """The names, each once, in their order.

    Args:
        names: Of suites.
        weights: Whether there are weights, which some suites need.

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
    if weightless := [name for name in names if SUITES[name].needs_weights and not weights]:
        others = [name for name, suite in SUITES.items() if not suite.needs_weights]
        raise ConfigError(
            f"{' and '.join(weightless)} can't be asked of an endpoint, for want of weights: "
            f"ask for {', '.join(others)}"
        )
    for name in names:
        SUITES[name].check()
    return names
