"""What a model writes: continuations sampled at temperature 1, nothing cut off its distribution."""

from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import DynamicCache

from distmatch.data.trie import Encoder, Path, TokenTrie
from distmatch.models.head import unwrapped
from distmatch.scoring import in_eval_mode

# The model's own distribution, whatever its generation config says
_PLAIN: dict[str, Any] = {
    "do_sample": True,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "use_cache": True,
}


@torch.no_grad()
def sample_tokens(
    model: nn.Module,
    prompts: Sequence[Path],
    ends: Collection[int],
    *,
    max_tokens: int = 512,
    batch_size: int = 16,
    progress: str | None = None,
) -> list[Path]:
    """One continuation of each prompt, up to the first token that ends it.

    Randomness comes from torch's global generator.

    Args:
        model: A model with a generation head, adapted or not; its mode is restored afterwards.
        prompts: Token ids of each; write a prompt several times for several continuations.
        ends: Tokens that end a continuation; they aren't returned.
        max_tokens: Where a continuation is cut off.
        batch_size: Prompts that are continued at once.
        progress: What a progress bar is to be called; None: no bar.
    """
    written: list[Path] = []
    starts = tqdm(
        range(0, len(prompts), batch_size), desc=progress, leave=False, disable=progress is None
    )
    with in_eval_mode(model):
        for start in starts:
            rows = _continued(model, prompts[start : start + batch_size], ends, max_tokens)
            written += [tuple(takewhile(lambda token: token not in ends, row)) for row in rows]
    return written


def _continued(
    model: nn.Module, prompts: Sequence[Path], ends: Collection[int], max_tokens: int
) -> list[list[int]]:
    longest = max(map(len, prompts))
    fill = min(ends)
    base = unwrapped(model)
    device: torch.device = base.device  # type: ignore[assignment]
    padded = [[fill] * (longest - len(ids)) + [*ids] for ids in prompts]
    mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
    written = base.generate(  # type: ignore[operator]
        input_ids=torch.tensor(padded, device=device),
        attention_mask=torch.tensor(mask, device=device),
        max_new_tokens=max_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=fill,
        **_PLAIN,
    )
    return written[:, longest:].tolist()


@torch.no_grad()
def sample_repeatedly(
    model: nn.Module, prompt: Path, num_samples: int, max_tokens: int
) -> list[Path]:
    """Many continuations of one prompt, whose own states are computed once.

    Randomness comes from torch's global generator. What follows a model's end of text is padding.

    Args:
        model: A model with a generation head, adapted or not; its mode is restored afterwards.
        prompt: Token ids.
        num_samples: How many; they are written all at once.
        max_tokens: Where they are cut off.
    """
    base = unwrapped(model)
    device: torch.device = base.device  # type: ignore[assignment]
    cache = DynamicCache(config=base.config)  # type: ignore[arg-type]
    ids = torch.tensor([prompt], device=device)
    with in_eval_mode(model):
        base(ids[:, :-1], past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(num_samples)
        written = base.generate(  # type: ignore[operator]
            input_ids=ids.repeat(num_samples, 1),
            attention_mask=torch.ones(num_samples, len(prompt), dtype=torch.long, device=device),
            past_key_values=cache,
            max_new_tokens=max_tokens,
            **_PLAIN,
        )
    return [tuple(tokens) for tokens in written[:, len(prompt) :].tolist()]


def longest_answer(trie: TokenTrie) -> int:
    """How many tokens of a continuation tell which word it is."""
    return max(map(len, trie.all_paths)) + (trie.boundary != "none")


def count_words(continuations: Iterable[Path], trie: TokenTrie, encoder: Encoder) -> list[int]:
    """How many continuations are each word, token by token, and last how many are anything else.

    Real samples, to hold exact probabilities against.

    Args:
        continuations: Of the trie's prompt, long enough for `longest_answer`.
        trie: The example.
        encoder: What made the trie.
    """
    ends = None if trie.boundary == "none" else encoder.boundary_set(trie.boundary).tolist()
    counts = [0] * (len(trie.paths) + 1)
    for tokens in continuations:
        counts[_word_of(tokens, trie, ends)] += 1
    return counts


def _word_of(tokens: Path, trie: TokenTrie, ends: Sequence[bool] | None) -> int:
    for word, forms in enumerate(trie.paths):
        for path in forms:
            after = tokens[len(path) : len(path) + 1]
            if tokens[: len(path)] == path and (ends is None or (after and ends[after[0]])):
                return word
    return len(trie.paths)
