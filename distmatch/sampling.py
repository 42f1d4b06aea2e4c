"""What a model writes, sampled at temperature 1."""

from collections.abc import Sequence
from itertools import takewhile

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.prompts import special_ids
from distmatch.data.trie import Path
from distmatch.models.head import unwrapped
from distmatch.scoring import in_eval_mode


def sample_tokens(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Path],
    max_tokens: int,
) -> list[Path]:
    """What the model writes after each prompt, up to its first special token, in one batch.

    Randomness comes from torch's global generator.

    Args:
        model: A model with a generation head, adapted or not; its mode is restored afterwards.
        tokenizer: Its tokenizer.
        prompts: Token ids of each.
        max_tokens: Where a text is cut off.
    """
    special = special_ids(tokenizer)
    longest = max(map(len, prompts))
    fill = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(special)
    base = unwrapped(model)
    device: torch.device = base.device  # type: ignore[assignment]
    ids = torch.tensor([[fill] * (longest - len(ids)) + [*ids] for ids in prompts], device=device)
    mask = torch.tensor(
        [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts], device=device
    )
    with in_eval_mode(model), torch.no_grad():
        written = base.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max_tokens,
            repetition_penalty=1.0,
            eos_token_id=sorted(special),  # whatever the model ends its text with
            pad_token_id=fill,
            use_cache=True,
        )
    return [tuple(takewhile(lambda i: i not in special, row[longest:].tolist())) for row in written]
