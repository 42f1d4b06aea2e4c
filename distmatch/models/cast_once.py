"""Frozen matrices in the precision of mixed training: cast once, where autocast does at every use.

Autocast remembers its casts of weights that learn, and casts frozen ones anew each time they are
multiplied. Here they stand beside the model's own in the precision they are multiplied in, and take
their place while a step is made. What is measured sees the model's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

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

    @property
    def num_bytes(self) -> int:
        """What they take beside the model's own."""
        return sum(matrix.nbytes for matrix in self._cast.values())

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, they are the model's."""
        for module, own in self._own:
            module.weight = self._cast[own]
        try:
            yield
        finally:
            for module, own in self._own:
                module.weight = own


def _linear_layers(model: nn.Module) -> Iterator[nn.Linear | Conv1D]:
    """Those that autocast multiplies in its precision: all but the head, whose product is exact.

    Stacked experts are multiplied in their own precision.
    """
    head = output_head(model)
    for module in model.modules():
        if type(module) in (nn.Linear, Conv1D) and module is not head:
            yield module  # type: ignore[misc]
