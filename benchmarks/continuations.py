"""Many continuations of one prompt, and which word each is."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from transformers import DynamicCache

from distmatch.data.trie import Encoder, TokenIds, TokenTrie
from distmatch.models.forwards import in_eval_mode
from distmatch.models.head import unwrapped
from distmatch.sampling import OWN_DISTRIBUTION


@torch.no_grad()
def sample_repeatedly(
    model: nn.Module, prompt: TokenIds, num_samples: int, max_tokens: int
) -> list[TokenIds]:
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
        base(ids[:, :-1], cache=cache, use_cache=True)
        cache.batch_repeat_interleave(num_samples)
        written = base.generate(  # type: ignore[operator]
            input_ids=ids.repeat(num_samples, 1),
            attention_mask=torch.ones(num_samples, len(prompt), dtype=torch.long, device=device),
            cache=cache,
            max_new_tokens=max_tokens,
            **OWN_DISTRIBUTION,
        )
    return [tuple(tokens) for tokens in written[:, len(prompt) :].tolist()]


def longest_answer(trie: TokenTrie) -> int:
    """How many tokens of a continuation tell which word it is."""
    return max(map(len, trie.all_paths)) + (trie.boundary != "none")


def count_words(continuations: Iterable[TokenIds], trie: TokenTrie, encoder: Encoder) -> list[int]:
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


def _word_of(tokens: TokenIds, trie: TokenTrie, ends: Sequence[bool] | None) -> int:
    for word, forms in enumerate(trie.paths):
        for path in forms:
            after = tokens[len(path) : len(path) + 1]
            if tokens[: len(path)] == path and (ends is None or (after and ends[after[0]])):
                return word
    return len(trie.paths)
