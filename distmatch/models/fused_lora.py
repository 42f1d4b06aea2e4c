"""LoRA on a linear layer as one step of autograd, in fewer operations than PEFT's layer takes.

y = x Wᵀ + bias + s (x Aᵀ) Bᵀ, where only A and B learn. One function does the product and the
update, adds the update in place, keeps one copy of x in the precision it is multiplied in, and
scales inside of products. With G = dL/dy:

    dL/dA = s (G B)ᵀ x,    dL/dB = s Gᵀ (x Aᵀ),    dL/dx = G W + s (G B) A

(Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021). The update comes first and
the large product is added to it, in the precision that it is accumulated in, and rounded once: in
16 bits a small update added to a product that is rounded already is lost, as it is in PEFT's layer,
and early steps learn nothing. PEFT places, names, saves and loads the layers; whatever else they
may be asked to do goes through PEFT's own forward.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from peft.tuners.lora import layer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.weak import TensorWeakRef


class FusedLinear(layer.Linear):
    """PEFT's layer, which takes the short way where it can."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output, as PEFT's."""
        name = None if args or kwargs else self._only_adapter()
        how = None if name is None else self._how(name, x)
        if name is None or how is None:
            return super().forward(x, *args, **kwargs)
        siblings = None if x.is_inference() else self.siblings.get(name)
        if siblings is not None and siblings.dtype == how.dtype:
            return siblings.output(self, x, _rows(x, how.dtype))
        own, base = (self.lora_A[name].weight, self.lora_B[name].weight), self.base_layer
        a, b = self.cast_factors.get(name, own)
        return _AdaptedProduct.apply(x, a, b, _rows(x, how.dtype), (base.weight, base.bias), how)

    @property
    def cast_factors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Of an adapter, A and B in the precision of mixed training, while a step is made.

        They belong to the step's graph: gradients go through them to the adapter's own.
        """
        return vars(self).setdefault("_cast_factors", {})

    @property
    def siblings(self) -> dict[str, Any]:
        """Of an adapter, what computes for this layer and others of its input (`siblings.py`)."""
        return vars(self).setdefault("_siblings", {})

    def _only_adapter(self) -> str | None:
        """The one that is switched on, if it is plain LoRA and nothing is merged or dropped."""
        names = [name for name in self.active_adapters if name in self.lora_A]
        if len(names) != 1 or self.disable_adapters or self.merged:
            return None
        (name,) = names
        dropout = self.lora_dropout[name]
        drops = dropout.training and not isinstance(dropout, nn.Identity)
        if drops or name in self.lora_variant or self.lora_B[name].bias is not None:
            return None
        return name

    def _how(self, name: str, x: Tensor) -> "_How | None":
        """In which precision; None where products would differ in it, or the base is watched."""
        parts = (self.base_layer, self.lora_A[name], self.lora_B[name], self.lora_dropout[name])
        learns = any(weight.requires_grad for weight in self.base_layer.parameters())
        if learns or type(self.base_layer) is not nn.Linear or any(map(_is_watched, parts)):
            return None
        weights: Any = (self.base_layer.weight, self.lora_A[name].weight, self.lora_B[name].weight)
        base, factors, others = (weight.dtype for weight in weights)
        if torch.is_autocast_enabled(x.device.type) and torch.float64 not in (x.dtype, base):
            return _How(self.scaling[name], torch.get_autocast_dtype(x.device.type))
        is_one = x.dtype == base == factors == others
        return _How(self.scaling[name], factors) if is_one else None


class _How(NamedTuple):
    scaling: float
    dtype: torch.dtype
    """Of all products."""


def fuse_lora(model: nn.Module) -> None:
    """Let plain LoRA layers of PEFT's on plain linear layers take the short way.

    They stay what they are to PEFT: a class of its own is all that changes.
    """
    for module in model.modules():
        if type(module) is layer.Linear and type(module.base_layer) is nn.Linear:
            module.__class__ = FusedLinear


def _is_watched(module: nn.Module) -> bool:
    """Whether somebody counts on the module's own forward."""
    forward = (module._forward_hooks, module._forward_pre_hooks)
    backward = (module._backward_hooks, module._backward_pre_hooks)
    return any(forward) or any(backward) or "forward" in vars(module)


_last_cast: tuple[Any, ...] = (None,) * 4


def _rows(x: Tensor, dtype: torch.dtype) -> Float[Tensor, "rows inputs"]:
    """The input in the precision of products, cast once for layers that are given the same.

    What was cast last is known as long as some layer keeps it for its gradient.
    """
    global _last_cast
    if x.dtype == dtype or x.is_inference():  # which has no version, and nobody keeps its cast
        return x.detach().to(dtype).reshape(-1, x.shape[-1])
    of, version, known_dtype, known = _last_cast
    if of is not None and of() is x and (version, known_dtype) == (x._version, dtype):
        rows = known()
        if rows is not None:
            return rows
    rows = x.detach().to(dtype).reshape(-1, x.shape[-1])
    _last_cast = (TensorWeakRef(x), x._version, dtype, TensorWeakRef(rows))
    return rows


class _AdaptedProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        a: Tensor,
        b: Tensor,
        rows: Tensor,
        base: tuple[Tensor, Tensor | None],
        how: _How,
    ) -> Tensor:
        ctx.how, ctx.dtypes = how, (x.dtype, a.dtype, b.dtype)
        weight, a, b = (matrix.to(how.dtype) for matrix in (base[0], a, b))
        bias = None if base[1] is None else base[1].to(how.dtype)
        inner = rows @ a.T
        product = scaled_product(inner, b.T, how.scaling).addmm_(rows, weight.T)
        if bias is not None:
            product += bias
        ctx.save_for_backward(rows, inner, weight, a, b)
        return product.reshape(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, inner, weight, a, b = ctx.saved_tensors
        how: _How = ctx.how
        of_x, of_a, of_b = ctx.dtypes
        gradients = gradient.reshape(-1, gradient.shape[-1])
        thin = gradients @ b
        for_a = scaled_product(thin.T, rows, how.scaling).to(of_a)
        for_b = scaled_product(gradients.T, inner, how.scaling).to(of_b)
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = scaled_product(thin, a, how.scaling).addmm_(gradients, weight).to(of_x)
            for_x = for_x.reshape(*gradient.shape[:-1], weight.shape[1])
        return for_x, for_a, for_b, None, None, None


def scaled_product(
    left: Float[Tensor, "rows inner"], right: Float[Tensor, "inner columns"], scaling: float
) -> Float[Tensor, "rows columns"]:
    """The product, scaled before it is rounded."""
    return torch.addmm(left.new_empty(1), left, right, beta=0, alpha=scaling)
