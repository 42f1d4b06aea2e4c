"""How far an adapted model has moved from its base on ordinary text."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from distmatch.losses.log_probs import log_probs_of

CHUNK_BYTES = 1 << 26
"""No tensor of states' logits is larger; a few of that size exist at a time."""

_CHUNK = 256  # rows whose log-probabilities exist at the same time

Head = Callable[[Float[Tensor, "rows hidden"]], Float[Tensor, "rows vocab"]]


def retention_kl(
    logits: Float[Tensor, "rows vocab"], base_logits: Float[Tensor, "rows vocab"]
) -> Float[Tensor, " rows"]:
    """KL(base || adapted) of the next token at every row, over the full vocabulary.

    Rows go through in chunks whose log-probabilities are made again in the backward, so beyond
    the two logits themselves only one chunk's intermediates are held.

    Args:
        logits: The adapted model's, with gradient.
        base_logits: The base's at the same places, without gradient.

    Returns:
        One value a row, in nats.
    """
    chunks = zip(logits.split(_CHUNK), base_logits.split(_CHUNK), strict=True)
    return torch.cat(
        [checkpoint(_rows_kl, ours, base, use_reentrant=False) for ours, base in chunks]
    )


def retention_kl_of_states(
    states: Float[Tensor, "rows hidden"],
    base_states: Float[Tensor, "rows hidden"],
    head: Head,
    base_head: Head,
    vocab_size: int,
) -> Float[Tensor, " rows"]:
    """`retention_kl` of what two heads make of states, without the logits of all rows at once.

    A few rows at a time go through both heads, and what their states' gradient would be is kept in
    the logits' place: rows don't depend on each other, so the gradient of each row's value is
    known before anybody asks for it.

    Args:
        states: What enters the adapted model's head, with gradient.
        base_states: What enters the base's, without.
        head: States to logits, float32 or float64. Its own weights get no gradient.
        base_head: The base's.
        vocab_size: Logits a row.

    Returns:
        One value a row, in nats.
    """
    return _OfStates.apply(states, base_states, head, base_head, vocab_size)


class _OfStates(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, base_states: Tensor, head: Head, base_head: Head, vocab_size: int
    ) -> Tensor:
        needs_gradient = ctx.needs_input_grad[0]
        values, gradients = [], []
        for some, base in _chunks(states.detach(), base_states, vocab_size):
            base_logits = base_head(base)
            with torch.set_grad_enabled(needs_gradient):
                # Its gradient is kept in full: in float16 it may vanish before it is scaled
                full = some.to(base_logits.dtype).requires_grad_(needs_gradient)
                kl = _rows_kl(head(full), base_logits)
                if needs_gradient:
                    gradients.append(torch.autograd.grad(kl.sum(), full)[0])
            values.append(kl.detach())
        ctx.save_for_backward(torch.cat(gradients) if needs_gradient else None)
        ctx.dtype = states.dtype
        return torch.cat(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_rows: Tensor) -> tuple[Tensor | None, ...]:
        (gradients,) = ctx.saved_tensors
        return (of_rows[:, None] * gradients).to(ctx.dtype), None, None, None, None


def _chunks(
    states: Float[Tensor, "rows hidden"], base_states: Float[Tensor, "rows hidden"], vocab_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, CHUNK_BYTES // (4 * vocab_size))
    return zip(states.split(size), base_states.split(size), strict=True)


def _rows_kl(
    logits: Float[Tensor, "rows vocab"], base_logits: Float[Tensor, "rows vocab"]
) -> Float[Tensor, " rows"]:
    log_base = log_probs_of(base_logits)
    base = log_base.exp()
    log_ratio = torch.where(base > 0, log_base - log_probs_of(logits), 0.0)
    return (base * log_ratio).sum(-1)
