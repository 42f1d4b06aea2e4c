"""Adapted layers of one input, such as q, k and v, or gate and up: one product for all of them.

Their frozen matrices and their factors A lie under each other, so that what each would do by itself
is done at once, forward and backward, but for the factors B, of which each sees its own rows.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.weak import TensorWeakRef

from distmatch.models.forwards import in_eval_mode
from distmatch.models.fused_lora import FusedLinear, scaled_product
from distmatch.models.head import unwrapped

_PROBE = ((0, 0),)  # token ids: any, and few


class Siblings:
    """Layers that are given the same input, while a step is made.

    Whichever is asked first computes for all; one that is asked with another input after all, for
    itself, at the price of the others'.

    Args:
        layers: In the order of what follows.
        weight: Their frozen matrices under each other.
        bias: Likewise; None: none has one.
        a: Their factors A under each other, in the weight's precision.
        bs: Their factors B.
        scaling: Of all alike.
    """

    def __init__(
        self,
        layers: Sequence[FusedLinear],
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        bs: Sequence[Tensor],
        scaling: float,
    ) -> None:
        """Nothing is computed yet."""
        self.dtype = weight.dtype
        self._layers, self._base, self._a, self._bs = layers, (weight, bias), a, bs
        self._how = _How(scaling, [b.shape[1] for b in bs], [b.shape[0] for b in bs])
        self._outputs: dict[FusedLinear, Tensor] = {}
        self._of: tuple[TensorWeakRef, int] | None = None

    def output(self, layer: FusedLinear, x: Tensor, rows: Tensor) -> Tensor:
        """What one of the layers makes of its input.

        Args:
            layer: One of them.
            x: Its input.
            rows: The same in the weight's precision, a row a token.
        """
        if layer not in self._outputs or not self._is_of(x):
            outputs = _Products.apply(x, self._a, rows, self._base, self._how, *self._bs)
            self._outputs = dict(zip(self._layers, outputs, strict=True))
            self._of = TensorWeakRef(x), x._version
        return self._outputs.pop(layer)

    def _is_of(self, x: Tensor) -> bool:
        return self._of is not None and self._of[0]() is x and self._of[1] == x._version


class _How(NamedTuple):
    scaling: float
    ranks: list[int]
    widths: list[int]
    """Of the outputs."""


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        a: Tensor,
        rows: Tensor,
        base: tuple[Tensor, Tensor | None],
        how: _How,
        *bs: Tensor,
    ) -> tuple[Tensor, ...]:
        weight, bias = base
        inner = rows @ a.T
        biases = [None] * len(bs) if bias is None else bias.split(how.widths)
        parts = zip(weight.split(how.widths), inner.split(how.ranks, 1), bs, biases, strict=True)
        outputs = []
        for own, part, b, add in parts:  # each a tensor of its own, which a model may change
            outputs.append(rows.new_empty(*x.shape[:-1], len(b)))
            out = outputs[-1].view(-1, len(b))
            torch.addmm(out, part, b.T, beta=0, alpha=how.scaling, out=out).addmm_(rows, own.T)
            if add is not None:
                out.add_(add)
        ctx.save_for_backward(rows, inner, weight, a, *bs)
        ctx.how, ctx.dtype = how, x.dtype
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        rows, inner, weight, a, *bs = ctx.saved_tensors
        how: _How = ctx.how
        whole = torch.cat([one.reshape(len(rows), -1) for one in of_outputs], 1)
        thin = whole.new_empty(len(rows), sum(how.ranks))
        parts = whole.split(how.widths, 1)
        for part, b, out in zip(parts, bs, thin.split(how.ranks, 1), strict=True):
            torch.mm(part, b, out=out)
        for_a = scaled_product(thin.T, rows, how.scaling)
        inners = inner.split(how.ranks, 1)
        for_bs = [scaled_product(p.T, i, how.scaling) for p, i in zip(parts, inners, strict=True)]
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = scaled_product(thin, a, how.scaling).addmm_(whole, weight).to(ctx.dtype)
            for_x = for_x.reshape(*of_outputs[0].shape[:-1], weight.shape[1])
        return for_x, for_a, None, None, None, *for_bs


@torch.no_grad()
def given_together(
    model: nn.Module, layers: Sequence[FusedLinear]
) -> list[tuple[FusedLinear, ...]]:
    """Which of the layers are given one input, seen in a forward of two tokens; each once.

    Args:
        model: Adapted or wrapped; the mode of each of its modules is restored.
        layers: Some of its layers.
    """
    inputs: list[Tensor] = []  # kept, so that no two have one id
    together: dict[int, list[FusedLinear]] = {}

    def note(layer: Any, given: tuple[Tensor, ...]) -> None:
        inputs.append(given[0])
        together.setdefault(id(given[0]), []).append(layer)

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    base: Any = unwrapped(model)
    try:
        with in_eval_mode(model):
            base(input_ids=torch.tensor(_PROBE, device=base.device), use_cache=False)
    except Exception:  # whatever a model makes of so little: then all are alone
        together.clear()
    finally:
        for hook in hooks:
            hook.remove()
    seen = [layer for some in together.values() for layer in some]
    return [tuple(some) for some in together.values() if all(seen.count(o) == 1 for o in some)]
