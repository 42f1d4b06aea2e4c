"""Weights in the precision of mixed training: cast once, where autocast does at every use.

Autocast remembers its casts of weights that learn, and casts frozen ones anew each time they are
multiplied. Here frozen matrices stand beside the model's own in the precision they are multiplied
in, and take their place while a step is made; LoRA's factors are cast all at once as it begins,
and their gradients all at once as it ends. What is measured sees the model's own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from distmatch.models.fused_lora import FusedLinear
from distmatch.models.head import output_head, unwrapped


class CastOnce:
    """The matrices of a model that don't learn, in another precision.

    Args:
        model: A causal language model, adapted or wrapped or not.
        dtype: The precision, as of the autocast that the model is to run under; None: their own.
        all_weights: Those that learn, too, for forwards without gradient.
    """

    def __init__(
        self, model: nn.Module, dtype: torch.dtype | None, *, all_weights: bool = False
    ) -> None:
        """Cast them all."""
        self._own: list[tuple[nn.Module, nn.Parameter]] = []
        self._cast: dict[nn.Parameter, nn.Parameter] = {}
        for module in _linear_layers(unwrapped(model)):
            own: Any = module.weight
            learns = own.requires_grad and not all_weights
            if dtype is None or learns or own.dtype in (dtype, torch.float64):  # which stays
                continue
            self._own.append((module, own))
            if own not in self._cast:  # a matrix of several layers is one
                self._cast[own] = nn.Parameter(own.detach().to(dtype), requires_grad=False)
        self._dtype = dtype
        self._factors = [] if dtype is None or all_weights else list(_factors(model, dtype))

    @property
    def num_bytes(self) -> int:
        """What they take beside the model's own."""
        factors = sum(own.numel() for factor in self._factors for own in factor.own)
        size = 0 if self._dtype is None else self._dtype.itemsize
        return sum(matrix.nbytes for matrix in self._cast.values()) + size * factors

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, they are the model's."""
        try:
            for module, own in self._own:
                module.weight = self._cast[own]
            own_factors = [own for factor in self._factors for own in factor.own]
            cast = iter(_CastTogether.apply(self._dtype, *own_factors) if own_factors else ())
            for factor in self._factors:
                factor.module.cast_factors[factor.name] = (next(cast), next(cast))
            yield
        finally:
            for module, own in self._own:
                module.weight = own
            for factor in self._factors:
                factor.module.cast_factors.clear()


class _Factors(NamedTuple):
    """A and B of an adapter in one layer."""

    module: FusedLinear
    name: str
    own: tuple[nn.Parameter, nn.Parameter]


class _CastTogether(torch.autograd.Function):
    """Matrices in another precision by one call, and their gradients back by another."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *own: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # what wasn't used has no gradient
        ctx.dtypes = [matrix.dtype for matrix in own]
        return _cast_together(own, [dtype] * len(own))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        there = [
            (g, dtype) for g, dtype in zip(gradients, ctx.dtypes, strict=True) if g is not None
        ]
        own = iter(_cast_together(*zip(*there, strict=True)) if there else ())
        return None, *(None if gradient is None else next(own) for gradient in gradients)


def _cast_together(matrices: Sequence[Tensor], dtypes: Sequence[torch.dtype]) -> tuple[Tensor, ...]:
    pairs = zip(matrices, dtypes, strict=True)
    cast = tuple(torch.empty_like(matrix, dtype=dtype) for matrix, dtype in pairs)
    torch._foreach_copy_(cast, tuple(matrices))
    return cast


def _factors(model: nn.Module, dtype: torch.dtype) -> Iterator[_Factors]:
    layers = [module for module in model.modules() if isinstance(module, FusedLinear)]
    for module in layers:
        for name in module.lora_A:
            own: Any = (module.lora_A[name].weight, module.lora_B[name].weight)
            if all(w.is_floating_point() and w.dtype not in (dtype, torch.float64) for w in own):
                yield _Factors(module, name, own)


def _linear_layers(model: nn.Module) -> Iterator[nn.Linear | Conv1D]:
    """Those that autocast multiplies in its precision: all but the head, whose product is exact.

    Stacked experts are multiplied in their own precision.
    """
    head = output_head(model)
    for module in model.modules():
        if type(module) in (nn.Linear, Conv1D) and module is not head:
            yield module  # type: ignore[misc]
