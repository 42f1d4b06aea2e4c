"""How far an adapted model has moved from its base on ordinary text."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_BYTES = 1 << 26
"""No tensor of one model's logits of states is larger; a few of that size exist at a time."""

_CHUNK = 256  # rows whose probabilities exist at the same time

Heads = Callable[
    [Float[Tensor, "rows hidden"], Float[Tensor, "rows hidden"]],
    tuple[Float[Tensor, "rows vocab"], Float[Tensor, "rows vocab"]],
]
"""States of the adapted model and of its base to the logits of each."""


def retention_kl(
    logits: Float[Tensor, "rows vocab"], base_logits: Float[Tensor, "rows vocab"]
) -> Float[Tensor, " rows"]:
    """KL(base || adapted) of the next token at every row, over the full vocabulary.

    Rows go through in chunks whose probabilities are made again in the backward, so beyond the two
    logits themselves and a gradient only one chunk's intermediates are held.

    Args:
        logits: The adapted model's, with gradient.
        base_logits: The base's at the same places, without gradient.

    Returns:
        One value a row, in nats.
    """
    return _OfLogits.apply(logits, base_logits)


def retention_kl_of_states(
    states: Float[Tensor, "rows hidden"],
    base_states: Float[Tensor, "rows hidden"],
    heads: Heads,
    vocab_size: int,
) -> Float[Tensor, " rows"]:
    """`retention_kl` of what two heads make of states, without the logits of all rows at once.

    A few rows at a time go through both heads, and what their states' gradient would be is kept in
    the logits' place: rows don't depend on each other, so the gradient of each row's value is
    known before anybody asks for it.

    Args:
        states: What enters the adapted model's head, with gradient.
        base_states: What enters the base's, without.
        heads: Both, to logits of float32 or float64. Their own weights get no gradient.
        vocab_size: Logits a row.

    Returns:
        One value a row, in nats.
    """
    return _OfStates.apply(states, base_states, heads, vocab_size)


class _OfLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, base_logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits, base_logits)
        chunks = zip(logits.split(_CHUNK), base_logits.split(_CHUNK), strict=True)
        return torch.cat([_kl_and_gradient(ours, base)[0] for ours, base in chunks])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_rows: Tensor) -> tuple[Tensor, None]:
        gradient = torch.empty_like(ctx.saved_tensors[0])
        parts = (*ctx.saved_tensors, of_rows, gradient)
        for logits, base_logits, of, into in zip(
            *(part.split(_CHUNK) for part in parts), strict=True
        ):
            torch.mul(of[:, None], _kl_and_gradient(logits, base_logits)[1], out=into)
        return gradient, None


class _OfStates(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, base_states: Tensor, heads: Heads, vocab_size: int
    ) -> Tensor:
        needs_gradient = ctx.needs_input_grad[0]
        found = [
            _of_chunk(some, base, heads, needs_gradient=needs_gradient)
            for some, base in _chunks(states.detach(), base_states, vocab_size)
        ]
        values, gradients = zip(*found, strict=True)
        ctx.save_for_backward(torch.cat(gradients) if needs_gradient else None)
        ctx.dtype = states.dtype
        return torch.cat(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_rows: Tensor) -> tuple[Tensor | None, ...]:
        (gradients,) = ctx.saved_tensors
        return (of_rows[:, None] * gradients).to(ctx.dtype), None, None, None


def _of_chunk(
    states: Float[Tensor, "rows hidden"],
    base_states: Float[Tensor, "rows hidden"],
    heads: Heads,
    *,
    needs_gradient: bool,
) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows hidden"] | None]:
    # Its gradient is kept in full: in float16 it may vanish before it is scaled
    dtype = torch.promote_types(states.dtype, torch.float32)
    full = states.to(dtype).requires_grad_(needs_gradient)
    with torch.set_grad_enabled(needs_gradient):
        logits, base_logits = heads(full, base_states)
    kl, gradient = _kl_and_gradient(logits.detach(), base_logits.detach())
    return kl, torch.autograd.grad(logits, full, gradient)[0] if needs_gradient else None


def _chunks(
    states: Float[Tensor, "rows hidden"], base_states: Float[Tensor, "rows hidden"], vocab_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, CHUNK_BYTES // (4 * vocab_size))
    return zip(states.split(size), base_states.split(size), strict=True)


def _kl_and_gradient(
    logits: Float[Tensor, "rows vocab"], base_logits: Float[Tensor, "rows vocab"]
) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows vocab"]]:
    """Of each row, and by the logits: the adapted model's probabilities less the base's."""
    shifted_base, base, log_total_base = _softmax(base_logits)
    shifted, ours, log_total = _softmax(logits)
    # What the base rules out costs nothing, however small the other's probability
    difference = shifted_base.sub_(shifted).masked_fill_(base == 0, 0.0)
    gradient = ours.sub_(base)
    return difference.mul_(base).sum(-1) + (log_total - log_total_base)[:, 0], gradient


def _softmax(logits: Float[Tensor, "rows vocab"]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits less the row's largest, probabilities, and the logarithm of what was divided by."""
    shifted = logits - logits.amax(-1, keepdim=True)
    probs = shifted.exp()
    total = probs.sum(-1, keepdim=True)
    return shifted, probs.div_(total), total.log()
