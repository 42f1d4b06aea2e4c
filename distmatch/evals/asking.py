"""A model + examples → its answers, with every metric an example each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import Example, plain_prompt
from distmatch.data.jsonl import to_examples
from distmatch.errors import DataError
from distmatch.evals.items import Answers
from distmatch.losses.words import support_log_probs
from distmatch.measuring.asked_examples import AskedExamples
from distmatch.measuring.metrics import Outcomes, Ratio, renormalised
from distmatch.scoring import model_encoder


def answers_of(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    examples: Iterable[Example | Mapping[str, Any]],
    *,
    batch_size: int = 32,
    progress: str | None = None,
) -> Answers:
    """What a model answers to examples. Each is asked once, and once more for each rotation.

    Args:
        model: A causal language model, adapted or not; its mode is restored afterwards.
        tokenizer: Its tokenizer.
        examples: Examples, records, or a `datasets.Dataset`.
        batch_size: Prompts a forward.
        progress: What a progress bar is to be called; None: no bar.

    Raises:
        DataError: No examples, or examples that can't be scored, each with its number.
    """
    examples = to_examples(examples)
    if not examples:
        raise DataError("there are no examples to evaluate: give at least one")
    check_resolved(examples)
    encoder = model_encoder(model, tokenizer)
    asked = AskedExamples.encode(encoder, examples)
    outcomes, ratios = asked.score(model, encoder, batch_size=batch_size, progress=progress)
    return answers_from(examples, outcomes, ratios)


def answers_from(
    examples: Sequence[Example], outcomes: Outcomes, ratios: Mapping[str, Ratio]
) -> Answers:
    """Examples, what was answered to them, and what counts towards each metric, as one."""
    given, asked = renormalised(outcomes)
    return Answers(
        words=tuple(example.target.words for example in examples),
        metadata=tuple(dict(example.metadata) for example in examples),
        prompts=tuple(plain_prompt(example.prompt) for example in examples),
        asked=_padded(asked, outcomes.is_word),
        given=_padded(given, outcomes.is_word),
        target=outcomes.target.numpy(),
        probs=support_log_probs(outcomes.scores, outcomes.is_free).exp().numpy(),
        other=outcomes.scores.other.exp().numpy(),
        ratios={
            name: (ratio.numerator.double().numpy(), ratio.denominator.double().numpy())
            for name, ratio in ratios.items()
        },
    )


def check_resolved(examples: Sequence[Example]) -> None:
    """Refuse upper bounds, which only a base model turns into targets.

    Raises:
        DataError: There are some; with their numbers.
    """
    bounded = [i for i, example in enumerate(examples) if example.target.other == "at_most"]
    if bounded:
        raise DataError(
            f'other is "at_most" in rows {bounded[:10]}, so their targets depend on the base '
            "model: replace them by what distmatch.scoring.resolve_at_most(base, encoder, "
            "examples) returns"
        )


def _padded(
    probs: Float[Tensor, "batch words"], is_word: Bool[Tensor, "batch words"]
) -> Float[np.ndarray, "batch words"]:
    return probs.masked_fill(~is_word, torch.nan).numpy()
