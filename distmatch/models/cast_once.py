"""Weights in the precision of mixed training: cast once, where autocast does at every use.

Autocast remembers its casts of weights that learn, and casts frozen ones anew each time they are
multiplied. Here frozen matrices stand beside the model's own in the precision they are multiplied
in, and take their place while a step is made; LoRA's factors are cast all at once as it begins,
and their gradients all at once as it ends. What is measured sees the model's own.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from distmatch.models.fused_lora import FusedLinear
from distmatch.models.head import output_head, unwrapped
from distmatch.models.siblings import Siblings, given_together


class CastOnce:
    """The matrices of a model that don't learn, in another precision.

    Args:
        model: A causal language model, adapted or wrapped or not.
        dtype: The precision, as of the autocast that the model is to run under; None: their own.
        all_weights: Those that learn, too, for forwards without gradient.
        idle: Blocks that are hardly ever run, whose matrices stay as they are.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype | None,
        *,
        all_weights: bool = False,
        idle: Iterable[nn.Module] = (),
    ) -> None:
        """Cast them all."""
        resting = {module for block in idle for module in block.modules()}
        self._own: list[tuple[nn.Module, nn.Parameter]] = []
        self._cast: dict[nn.Parameter, nn.Parameter] = {}
        for module in _linear_layers(unwrapped(model)):
            own: Any = module.weight
            learns = own.requires_grad and not all_weights
            if module in resting or learns:
                continue
            if dtype is None or own.dtype in (dtype, torch.float64):  # which stays
                continue
            self._own.append((module, own))
            if own not in self._cast:  # a matrix of several layers is one
                self._cast[own] = nn.Parameter(own.detach().to(dtype), requires_grad=False)
        self._dtype = dtype
        factors = [] if dtype is None or all_weights else list(_factors(model, dtype))
        self._families = self._stacked(model, factors) if factors else []

    @property
    def num_bytes(self) -> int:
        """What they take beside the model's own."""
        families = self._families
        factors = sum(w.numel() for family in families for one in family.factors for w in one.own)
        size = 0 if self._dtype is None else self._dtype.itemsize
        return sum(matrix.nbytes for matrix in self._cast.values()) + size * factors

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, they are the model's."""
        try:
            for module, own in self._own:
                module.weight = self._cast[own]
            self._lend_factors()
            yield
        finally:
            for module, own in self._own:
                module.weight = own
            for family in self._families:
                for factor in family.factors:
                    factor.module.cast_factors.clear()
                    factor.module.siblings.clear()

    def _lend_factors(self) -> None:
        """Cast all factors by one call, those A of a family under each other."""
        stacks = [[one.own[0] for one in family.factors] for family in self._families]
        stacks += [[one.own[1]] for family in self._families for one in family.factors]
        flat = [own for stack in stacks for own in stack]
        cast = _CastTogether.apply(self._dtype, [len(s) for s in stacks], *flat) if flat else ()
        bs = iter(cast[len(self._families) :])
        for family, a in zip(self._families, cast, strict=False):
            family.lend(a, [next(bs) for _ in family.factors])

    def _stacked(self, model: nn.Module, factors: "Sequence[_Factor]") -> "list[_Family]":
        """Factors by the inputs of their layers, whose frozen matrices are put under each other."""
        of = {factor.module: factor for factor in factors}  # of several adapters the last's
        with_cast = [layer for layer in of if layer.base_layer.weight in self._cast]
        families = []
        for layers in given_together(model, with_cast) if len(of) == len(factors) else ():
            weights: list[Any] = [layer.base_layer.weight for layer in layers]
            scalings = {layer.scaling[of[layer].name] for layer in layers}
            if len(layers) < 2 or len(scalings) > 1 or len(set(weights)) < len(weights):
                continue
            whole = torch.cat([self._cast[weight] for weight in weights])
            for weight, part in zip(weights, whole.split([len(w) for w in weights]), strict=True):
                self._cast[weight] = nn.Parameter(part, requires_grad=False)
            bias = _stacked_bias(layers, whole)
            families.append(_Family([of.pop(layer) for layer in layers], whole, bias))
        alone = [factor for factor in factors if factor.module in of]
        return [*families, *(_Family([factor], None) for factor in alone)]


@dataclass(frozen=True)
class _Family:
    """Factors of layers that are given one input."""

    factors: "list[_Factor]"
    weight: Tensor | None
    """Their layers' frozen matrices under each other, cast; None of a single one."""
    bias: Tensor | None = None

    def lend(self, a: Tensor, bs: list[Tensor]) -> None:
        """Let the layers have their cast factors, and know each other if there are several."""
        heights = [len(one.own[0]) for one in self.factors]
        for one, part, b in zip(self.factors, a.split(heights), bs, strict=True):
            one.module.cast_factors[one.name] = (part, b)
        if self.weight is not None:
            first: Any = self.factors[0]
            layers = [one.module for one in self.factors]
            scaling = first.module.scaling[first.name]
            siblings = Siblings(layers, self.weight, self.bias, a, bs, scaling)
            for one in self.factors:
                one.module.siblings[one.name] = siblings


class _Factor(NamedTuple):
    """A and B of an adapter in one layer."""

    module: FusedLinear
    name: str
    own: tuple[nn.Parameter, nn.Parameter]


class _CastTogether(torch.autograd.Function):
    """Matrices in another precision by one call, and their gradients back by another."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, sizes: list[int], *own: Tensor) -> tuple[Tensor, ...]:
        """Stacks of so many matrices each, which lie under each other."""
        ctx.set_materialize_grads(False)  # what wasn't used has no gradient
        left = iter(own)
        stacks = [[next(left) for _ in range(size)] for size in sizes]
        whole = tuple(
            stack[0].new_empty(sum(map(len, stack)), stack[0].shape[1], dtype=dtype)
            for stack in stacks
        )
        ctx.heights = [[len(matrix) for matrix in stack] for stack in stacks]
        ctx.dtypes = [matrix.dtype for matrix in own]
        parts = [p for w, h in zip(whole, ctx.heights, strict=True) for p in w.split(h)]
        torch._foreach_copy_(parts, list(own))
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        parts = [
            part
            for gradient, heights in zip(gradients, ctx.heights, strict=True)
            for part in ([None] * len(heights) if gradient is None else gradient.split(heights))
        ]
        own = [
            None if part is None else torch.empty_like(part, dtype=dtype)
            for part, dtype in zip(parts, ctx.dtypes, strict=True)
        ]
        if any(part is not None for part in parts):
            torch._foreach_copy_(
                [into for into in own if into is not None],
                [part for part in parts if part is not None],
            )
        return None, None, *own


def _stacked_bias(layers: Sequence[FusedLinear], weight: Tensor) -> Tensor | None:
    """What layers add under each other, cast as their matrices are; None where none adds any."""
    bases: list[Any] = [layer.base_layer for layer in layers]
    if all(base.bias is None for base in bases):
        return None
    parts = [
        weight.new_zeros(len(base.weight)) if base.bias is None else base.bias.detach()
        for base in bases
    ]
    return torch.cat([part.to(weight.dtype) for part in parts])


def _factors(model: nn.Module, dtype: torch.dtype) -> Iterator[_Factor]:
    layers = [module for module in model.modules() if isinstance(module, FusedLinear)]
    for module in layers:
        for name in module.lora_A:
            own: Any = (module.lora_A[name].weight, module.lora_B[name].weight)
            if all(w.is_floating_point() and w.dtype not in (dtype, torch.float64) for w in own):
                yield _Factor(module, name, own)


def _linear_layers(model: nn.Module) -> Iterator[nn.Linear | Conv1D]:
    """Those that autocast multiplies in its precision: all but the head, whose product is exact.

    Stacked experts are multiplied in their own precision.
    """
    head = output_head(model)
    for module in model.modules():
        if type(module) in (nn.Linear, Conv1D) and module is not head:
            yield module  # type: ignore[misc]
