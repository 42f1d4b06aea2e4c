"""Only the rows that predict go through the language-model head, and come out in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from distmatch.errors import LoadError

_CHUNK = 8192  # vocabulary rows converted to float32 at a time


@dataclass
class _DecoderOutput(ModelOutput):
    """What forwards of models ask of their decoder's output."""

    last_hidden_state: Tensor | None = None
    cache: None = None
    hidden_states: None = None
    attentions: None = None
    cross_attentions: None = None
    router_logits: None = None
    image_hidden_states: None = None
    rope_deltas: None = None


class HeadInput(NamedTuple):
    """States that enter the head, and the precision they were computed in."""

    states: Float[Tensor, "rows hidden"]
    mixed: torch.dtype | None
    """That of autocast inside the model's forward; None without."""


@contextmanager
def predicting_rows(
    model: nn.Module, rows: Int[Tensor, " rows"], kept: Int[Tensor, " kept"] | None = None
) -> Iterator[list[HeadInput]]:
    """Inside, the model's forward gives logits (rows, vocab) of the chosen tokens alone.

    The head's input is cut to the rows, so everything the model does around its head (soft-caps,
    logit scales, adapters) still happens, and a wrapper such as DDP sees an ordinary forward.

    Args:
        model: A causal language model, adapted or wrapped or not.
        rows: Indices into the flattened (batch * tokens) hidden states.
        kept: Others, whose states go into the list that is yielded.
    """
    head = output_head(model)
    states: list[HeadInput] = []
    handle = head.register_forward_pre_hook(partial(_cut, rows, kept, states))
    try:
        with _full_precision(head):
            yield states
    finally:
        handle.remove()


@contextmanager
def stopped_before_head(model: nn.Module, rows: Int[Tensor, " rows"]) -> Iterator[list[HeadInput]]:
    """Inside, the model's forward computes no logits; what would enter its head goes into a list.

    Args:
        model: As in `predicting_rows`.
        rows: As in `predicting_rows`.
    """
    head = output_head(model)
    states: list[HeadInput] = []
    handle = head.register_forward_pre_hook(partial(_cut, rows, rows, states))
    try:
        with replaced(head, lambda given: given, place=_forward_of(head)):
            yield states
    finally:
        handle.remove()


def head_logits(
    model: nn.Module, states: Float[Tensor, "rows hidden"]
) -> Float[Tensor, "rows vocab"]:
    """What a model makes of states that enter its head, with all that it does behind that.

    The model's own forward runs with nothing in the place of its decoder.

    Args:
        model: A causal language model, adapted or not, whose forward is one of a decoder and then
            a head (`measuring.kept_base` tries it).
        states: Of any number of tokens.

    Returns:
        At least float32.
    """
    with _full_precision(output_head(model)):
        return _without_decoder(model, states)


def is_rounded(head: nn.Module, mixed: torch.dtype | None) -> bool:
    """Whether `PairedHead` multiplies a head's matrix in the precision of mixed training.

    In bfloat16 alone: in float16 small probabilities would be lost.
    """
    weight: Any = getattr(head, "weight", None)
    return mixed == torch.bfloat16 and _is_plain(head) and weight.dtype != torch.float64


class PairedHead:
    """The head of an adapted model and of its base, which has the same, for states near each other.

    In bfloat16 a product has 8 bits, too few for two models that hardly differ. What is multiplied
    there is the base's states and how far the adapted model's are from them, and the second product
    is added to the first. So logits of both are rounded alike, by up to 1/256 of themselves (which
    shifts the weights of tokens in a KL), and their difference by as much of the difference: where
    states are equal, logits are.

    Args:
        model: As in `head_logits`; it stays where it is.
        mixed: The precision that the states were computed in. Where products aren't rounded
            (`is_rounded`), they are those of `head_logits`.
    """

    def __init__(self, model: nn.Module, mixed: torch.dtype | None) -> None:
        """Cast the head's matrix, if it isn't in this precision."""
        head: Any = output_head(model)
        self._model, self._head, self._weight = model, head, None
        # A matrix that accelerate offloads is there in a forward alone
        if is_rounded(head, mixed) and not head.weight.is_meta:
            self._weight = head.weight.detach().to(mixed)

    def __call__(
        self, states: Float[Tensor, "rows hidden"], base_states: Float[Tensor, "rows hidden"]
    ) -> tuple[Float[Tensor, "rows vocab"], Float[Tensor, "rows vocab"]]:
        """The adapted model's logits and the base's, at least float32.

        Args:
            states: What enters the adapted model's head.
            base_states: What enters the base's at the same places.
        """
        if self._weight is None:
            return head_logits(self._model, states), head_logits(self._model, base_states)
        base = self._product(base_states)
        if self._head.bias is not None:
            base = base + self._head.bias.float()
        ours = base + self._product(states - base_states)
        return self._behind(ours, states), self._behind(base, base_states)

    def _product(self, given: Float[Tensor, "rows hidden"]) -> Float[Tensor, "rows vocab"]:
        weight: Any = self._weight
        return nn.functional.linear(given.to(weight), weight).float()

    def _behind(
        self, product: Float[Tensor, "rows vocab"], states: Float[Tensor, "rows hidden"]
    ) -> Float[Tensor, "rows vocab"]:
        """What the model makes of its head's output."""
        with replaced(self._head, lambda _: product[None], place=_forward_of(self._head)):
            return _without_decoder(self._model, states)


def _without_decoder(
    model: nn.Module, states: Float[Tensor, "rows hidden"]
) -> Float[Tensor, "rows vocab"]:
    """What a model's forward makes of these in the place of what its decoder makes of tokens."""
    base: Any = unwrapped(model)
    causal = base.get_base_model() if hasattr(base, "get_base_model") else base
    given = _DecoderOutput(last_hidden_state=states[None])
    with replaced(causal.base_model, lambda *_, **__: given):
        logits = causal(input_ids=states.new_zeros(1, len(states), dtype=torch.long)).logits[0]
    return logits if logits.dtype == torch.float64 else logits.float()


def _cut(
    rows: Int[Tensor, " rows"],
    kept: Int[Tensor, " kept"] | None,
    states: list[HeadInput],
    _head: nn.Module,
    args: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    flat = rearrange(args[0], "batch tokens hidden -> (batch tokens) hidden")
    if kept is not None:
        device = flat.device.type
        mixed = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        states.append(HeadInput(flat[kept.to(flat.device)], mixed))
    return (flat[rows.to(flat.device)], *args[1:])


@contextmanager
def _full_precision(head: Any) -> Iterator[None]:
    """Inside, the product of a plain head is accumulated in float32."""
    if not _is_plain(head):
        yield
        return
    with replaced(head, partial(_linear_in_full, head), place=_forward_of(head)):
        yield


def _is_plain(head: nn.Module) -> bool:
    """Whether a head is a linear map and nothing else."""
    return getattr(getattr(head, _forward_of(head)), "__func__", None) is nn.Linear.forward


def _linear_in_full(head: nn.Linear, hidden: Tensor) -> Tensor:
    return full_precision_linear(hidden, head.weight, head.bias)


def _forward_of(module: nn.Module) -> str:
    """Under which name: accelerate keeps a module's own beside the one with its hooks."""
    return "_old_forward" if "_old_forward" in vars(module) else "forward"


@contextmanager
def replaced(module: nn.Module, forward: Any, *, place: str = "forward") -> Iterator[None]:
    """Inside, a module's forward is another.

    Args:
        module: Any.
        forward: The other.
        place: The attribute it is put into.
    """
    own = vars(module).get(place)
    setattr(module, place, forward)
    try:
        yield
    finally:
        if own is None:
            delattr(module, place)
        else:
            setattr(module, place, own)


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
    hidden: Float[Tensor, "*rows hidden"],
    weight: Float[Tensor, "vocab hidden"],
    bias: Float[Tensor, " vocab"] | None = None,
) -> Float[Tensor, "*rows vocab"]:
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
    hidden: Float[Tensor, "*rows hidden"], weight: Float[Tensor, "chunk hidden"]
) -> Float[Tensor, "*rows chunk"]:
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
