"""Merging an adapter into its base, and what that changes in the answers."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distmatch.data.examples import Example
from distmatch.data.jsonl import to_examples
from distmatch.evals.evaluation import evaluate
from distmatch.evals.report import Report, comparison_table
from distmatch.losses.divergences import forward_kl
from distmatch.models.merge_guard import merging_allowed
from distmatch.others_messages import without_merging_warnings

_TINY = torch.finfo(torch.float32).tiny


class Merged(NamedTuple):
    """A model that an adapter was merged into, and how it answers; `print` shows the comparison."""

    model: PreTrainedModel
    divergence: float
    """Mean KL(with the adapter beside it || merged), in nats; over words and other, or over the
    words alone where other is free."""
    before: Report
    after: Report

    def __str__(self) -> str:
        """The metrics side by side, and the divergence."""
        table = comparison_table({"beside": self.before, "merged": self.after})
        return f"{table}\nmerging changed the answers by {self.divergence:.2g} nats (mean KL)"


def merge_and_measure(
    adapted: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Iterable[Example | Mapping[str, Any]],
    *,
    batch_size: int = 32,
    progress: bool = True,
) -> Merged:
    """The base with its adapter merged into it, measured before and after.

    Into 4-bit weights PEFT's own merging is refused, since the sum is rounded to 4 bits again;
    here it is done, and the result says what it cost. The merged model is saved by its
    `save_pretrained`; by `distmatch.models.quantizers.save_packed` where experts are packed, which
    takes no linear layers in NF4.

    Args:
        adapted: The model; it is changed, and its base is what comes back. Adapters that aren't
            active are dropped.
        tokenizer: Its tokenizer.
        examples: What it is measured on, before and after.
        batch_size: Prompts a forward.
        progress: With progress bars.

    Raises:
        DataError: No examples, or examples that can't be scored.
    """
    examples = to_examples(examples)
    before = evaluate(adapted, tokenizer, examples, batch_size=batch_size, progress=progress)
    with merging_allowed(adapted), without_merging_warnings():  # it is measured below
        model = adapted.merge_and_unload()
    after = evaluate(model, tokenizer, examples, batch_size=batch_size, progress=progress)
    # What float32 can't hold any more counts as the least that it can
    given = torch.from_numpy(after.answers.probs).double().clamp_min(_TINY).log()
    divergence = forward_kl(given, torch.from_numpy(before.answers.probs).double()).mean().item()
    return Merged(model, max(divergence, 0.0), before, after)
