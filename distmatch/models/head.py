"""Only the rows that predict go through the language-model head, and come out in float32."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from distmatch.errors import LoadError

_CHUNK = 8192  # vocabulary rows converted to float32 at a time


@contextmanager
def predicting_rows(model: nn.Module, rows: Int[Tensor, " rows"]) -> Iterator[None]:
    """Inside, the model's forward gives logits (rows, vocab) of the chosen tokens alone.

    The head's input is cut to the rows, so everything the model does around its head (soft-caps,
    logit scales, adapters) still happens, and a wrapper such as DDP sees an ordinary forward.

    Args:
        model: A causal language model, adapted or wrapped or not.
        rows: Indices into the flattened (batch * tokens) hidden states.
    """
    head = output_head(model)
    # Where accelerate has put a hook around the forward, it keeps the module's own under this name
    place = "_old_forward" if "_old_forward" in vars(head) else "forward"
    is_plain = getattr(getattr(head, place), "__func__", None) is nn.Linear.forward
    handle = head.register_forward_pre_hook(partial(_cut, rows))
    try:
        with _full_precision(head, place) if is_plain else nullcontext():  # type: ignore[arg-type]
            yield
    finally:
        handle.remove()


def _cut(
    rows: Int[Tensor, " rows"], _head: nn.Module, args: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    flat = rearrange(args[0], "batch tokens hidden -> (batch tokens) hidden")
    return (flat[rows.to(flat.device)], *args[1:])


@contextmanager
def _full_precision(head: nn.Linear, place: str) -> Iterator[None]:
    """Inside, the head's product is accumulated in float32."""
    own = vars(head).get(place)
    setattr(head, place, lambda hidden: full_precision_linear(hidden, head.weight, head.bias))
    try:
        yield
    finally:
        if own is None:
            delattr(head, place)
        else:
            setattr(head, place, own)


def output_head(model: nn.Module) -> nn.Module:
    """The module that turns hidden states into logits, beneath any wrappers.

    Raises:
        LoadError: There is none, as in the part of a causal model that ends in hidden states.
    """
    base = unwrapped(model)
    head = base.get_output_embeddings()  # type: ignore[operator]
    if head is None:
        raise LoadError(
            f"this {type(base).__name__} ends in hidden states, without a head that gives logits: "
            "give the whole causal language model, such as load_model or AutoModelForCausalLM loads"
        )
    return head


def unwrapped(model: nn.Module) -> nn.Module:
    """The model beneath wrappers such as DistributedDataParallel; adapters stay.

    Raises:
        LoadError: There is no model of transformers.
    """
    beneath: Any = model
    while not hasattr(beneath, "get_output_embeddings"):
        beneath = getattr(beneath, "module", None)
        if beneath is None:
            raise LoadError(
                f"expected a causal language model of transformers, got {type(model).__name__}: "
                "give what load_model or AutoModelForCausalLM loads"
            )
    return beneath


def is_checkpointing(module: nn.Module) -> bool:
    """Whether the module is a block that recomputes its activations while it is training."""
    return isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing


def full_precision_linear(
    hidden: Float[Tensor, "rows hidden"],
    weight: Float[Tensor, "vocab hidden"],
    bias: Float[Tensor, " vocab"] | None = None,
) -> Float[Tensor, "rows vocab"]:
    """The linear map accumulated in float32 (float64 stays), without a float32 copy of the weight.

    A half-precision product would round logits to 8 bits before any log-softmax.
    """
    with torch.autocast(hidden.device.type, enabled=False):  # which would round the product
        if weight.dtype in (torch.float32, torch.float64):
            return nn.functional.linear(hidden.to(weight.dtype), weight, bias)
        hidden = hidden.float()  # before the chunks, so that their gradients add up in float32
        chunks = [_chunk_product(hidden, chunk) for chunk in weight.split(_CHUNK)]
        logits = torch.cat(chunks, dim=-1)
        return logits if bias is None else logits + bias.float()


def _chunk_product(
    hidden: Float[Tensor, "rows hidden"], weight: Float[Tensor, "chunk hidden"]
) -> Float[Tensor, "rows chunk"]:
    if weight.requires_grad:
        return hidden @ weight.float().T
    return _FrozenProduct.apply(hidden, weight)


class _FrozenProduct(torch.autograd.Function):
    """hidden @ weight.T in float32, which keeps the half-precision weight for its backward."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN001
        ctx.save_for_backward(weight)
        return hidden @ weight.float().T

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN001
        (weight,) = ctx.saved_tensors
        return grad @ weight.float(), None
