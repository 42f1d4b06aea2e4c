"""What a model writes: continuations sampled at temperature 1, nothing cut off its distribution."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from itertools import takewhile
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import (
    Cache,
    DynamicCache,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from distmatch.data.trie import TokenIds
from distmatch.models.finite import check_finite
from distmatch.models.forwards import in_eval_mode
from distmatch.models.head import unwrapped
from distmatch.models.proof import forward_way
from distmatch.progress import phase

OWN_DISTRIBUTION: dict[str, Any] = {
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
"""With which `generate` draws from the model's own distribution, whatever its config says."""

_ASKED_EVERY = 4  # tokens, whether a continuation is done

IsDone = Callable[[int, TokenIds], bool]
"""Whether no more is needed of a continuation: its prompt's number, and its tokens so far."""


def own_draws() -> AbstractContextManager[Any]:
    """Inside, torch's generators are free to use; afterwards they are as they were."""
    return torch.random.fork_rng(devices=list(range(torch.cuda.device_count())))


@torch.no_grad()
def sample_tokens(
    model: nn.Module,
    prompts: Sequence[TokenIds],
    ends: Collection[int],
    *,
    max_tokens: int = 512,
    batch_size: int = 16,
    progress: str | None = None,
    is_done: IsDone | None = None,
) -> list[TokenIds]:
    """One continuation of each prompt, up to the first token that ends it.

    Randomness comes from torch's global generator.

    Args:
        model: A model with a generation head, adapted or not; its mode is restored afterwards.
        prompts: Token ids of each; write a prompt several times for several continuations, beside
            each other: of those of a batch it is read once.
        ends: Tokens that end a continuation; they aren't returned.
        max_tokens: Where a continuation is cut off.
        batch_size: Prompts that are continued at once.
        progress: What it is called where progress is shown; None: it isn't shown.
        is_done: Asked every few tokens about each continuation; one that is done stops there. Those
            beside it in its batch are drawn as they would be without, and the batch ends with the
            last of them, so what later batches draw does depend on it.

    Raises:
        DivergedError: The model's numbers aren't finite; says where that begins.
    """
    written: list[TokenIds] = []
    starts = range(0, len(prompts), batch_size)
    shown = progress is not None
    with in_eval_mode(model), phase(progress or "", len(starts), shown=shown) as writing:
        for start in starts:
            some = prompts[start : start + batch_size]
            stop = [] if is_done is None else [_Stop(is_done, start, max(map(len, some)), ends)]
            rows = _continued(model, some, ends, max_tokens, stop)
            written += [tuple(takewhile(lambda token: token not in ends, row)) for row in rows]
            writing.advance()
    return written


class _Stop(StoppingCriteria):
    """Stops the continuations of a batch that are done.

    They stay in the batch, filled up with an end: one draw is made for all of its rows, so without
    them the others' would change.
    """

    def __init__(
        self, is_done: IsDone, first: int, prompt_length: int, ends: Collection[int]
    ) -> None:
        self.is_done = is_done
        self.first = first
        self.prompt_length = prompt_length
        self.ends = frozenset(ends)

    def __call__(
        self, input_ids: Int[Tensor, "rows length"], scores: object, **_: object
    ) -> Bool[Tensor, " rows"]:
        """Which rows are done now."""
        num_tokens = input_ids.shape[1] - self.prompt_length
        done = [False] * len(input_ids)
        if num_tokens % _ASKED_EVERY == 0:
            for place, row in enumerate(input_ids[:, self.prompt_length :].tolist()):
                if self.ends.isdisjoint(row):
                    done[place] = self.is_done(self.first + place, tuple(row))
        return torch.tensor(done, device=input_ids.device)


class _Finite(LogitsProcessor):
    """Looks at the first distribution with the model's adapters, and at every other by itself."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.is_first = True

    def __call__(
        self, input_ids: Int[Tensor, "rows length"], scores: Float[Tensor, "rows vocab"]
    ) -> Float[Tensor, "rows vocab"]:
        """The scores as they are, if they can be drawn from."""
        if self.is_first or (scores.isnan() | scores.isposinf()).any():
            self.is_first = False
            check_finite(scores, self.model, lambda: self.model(input_ids=input_ids))
        return scores


def _continued(
    model: nn.Module,
    prompts: Sequence[TokenIds],
    ends: Collection[int],
    max_tokens: int,
    stop: Sequence[StoppingCriteria],
) -> list[list[int]]:
    fill = min(ends)
    base = unwrapped(model)
    ids, mask = _padded(prompts, fill, base.device)  # type: ignore[arg-type]
    longest = ids.shape[1]
    written = base.generate(  # type: ignore[operator]
        input_ids=ids,
        attention_mask=mask,
        cache=_shared_states(model, prompts, fill),
        max_new_tokens=max_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=fill,
        stopping_criteria=StoppingCriteriaList(stop),
        logits_processor=LogitsProcessorList([_Finite(model)]),
        **OWN_DISTRIBUTION,
    )
    return written[:, longest:].tolist()


def _padded(
    prompts: Sequence[TokenIds], fill: int, device: torch.device
) -> tuple[Int[Tensor, "rows length"], Int[Tensor, "rows length"]]:
    """Ids of prompts that end together, and where there are some."""
    longest = max(map(len, prompts))
    ids = [[fill] * (longest - len(prompt)) + [*prompt] for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _shared_states(model: nn.Module, prompts: Sequence[TokenIds], fill: int) -> Cache | None:
    """What a batch's prompts leave in the cache, of each different one computed once.

    None where all differ, and of models that ask for a cache of their own or whose layers keep
    other things than attention's.
    """
    base: Any = unwrapped(model)
    distinct = list(dict.fromkeys(prompts))
    if len(distinct) == len(prompts) or max(map(len, prompts)) == 1:
        return None
    if base.generation_config.cache_implementation or forward_way(model).name != "tree":
        return None
    ids, mask = _padded(distinct, fill, base.device)
    cache = DynamicCache(config=base.config.get_text_config())
    base(
        input_ids=ids[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, :-1],
        cache=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    place = {prompt: row for row, prompt in enumerate(distinct)}
    cache.batch_select_indices(torch.tensor([place[prompt] for prompt in prompts]))
    return cache
