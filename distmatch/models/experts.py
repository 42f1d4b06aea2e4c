"""A layer of experts with weights packed in 4 bit, and LoRA on experts without a dense update.

One way through the layer, `experts_forward`, serves packed and dense weights: tokens are sorted by
expert, and each expert that was chosen multiplies its own. What is kept for the backward pass is
the packed bytes and the tokens' activations; a few dense matrices live at a time, for one product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts

from distmatch.models.mxfp4 import GROUP, dequantize

MATRICES = ("gate_up_proj", "down_proj")
"""What a layer of experts calls its stacks of matrices."""

_UNPACKED_BYTES = 1 << 27  # together, on a GPU: four of gpt-oss's larger matrices in 16 bit


class ExpertLora(NamedTuple):
    """The LoRAs of one stack: expert e's matrix gains scaling * b[e] @ a[e]."""

    a: Float[Tensor, "experts rank in"]
    b: Float[Tensor, "experts out rank"]
    scaling: float


class PackedExperts(nn.Module):
    """gpt-oss's experts with their matrices in MXFP4, named as in its checkpoints.

    Blocks are (experts, out, in / 32, 16) bytes and scales (experts, out, in / 32); biases are
    dense. Nothing here can be trained, but gradients pass through, exactly.
    """

    is_transposed = True
    _apply_gate = GptOssExperts._apply_gate

    def __init__(self, dense: GptOssExperts) -> None:
        """Empty, on the default device.

        Args:
            dense: What is replaced; its shapes are taken, so it may be on the meta device.
        """
        super().__init__()
        self.num_experts = dense.num_experts
        self.alpha, self.limit = dense.alpha, dense.limit
        self.shapes = {name: tuple(getattr(dense, name).shape) for name in MATRICES}
        """Of each dense stack: (experts, in, out)."""
        for name, (experts, inputs, outputs) in self.shapes.items():
            packed = (experts, outputs, inputs // GROUP)
            bias = getattr(dense, f"{name}_bias")
            self._add(f"{name}_blocks", (*packed, GROUP // 2), torch.uint8)
            self._add(f"{name}_scales", packed, torch.uint8)
            self._add(f"{name}_bias", bias.shape, bias.dtype)

    def forward(
        self,
        hidden: Float[Tensor, "tokens hidden"],
        chosen: Int[Tensor, "tokens k"],
        weights: Float[Tensor, "tokens k"],
    ) -> Float[Tensor, "tokens hidden"]:
        """The weighted sum of each token's chosen experts."""
        return experts_forward(self, hidden, chosen, weights, {})

    def packed(self, name: str) -> tuple[UInt8[Tensor, "e o g 16"], UInt8[Tensor, "e o g"]]:
        """Blocks and scales of one stack."""
        return getattr(self, f"{name}_blocks"), getattr(self, f"{name}_scales")

    def _add(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> None:
        self.register_parameter(
            name, nn.Parameter(torch.empty(*shape, dtype=dtype), requires_grad=False)
        )


def experts_forward(
    experts: nn.Module,
    hidden: Float[Tensor, "tokens hidden"],
    chosen: Int[Tensor, "tokens k"],
    weights: Float[Tensor, "tokens k"],
    loras: Mapping[str, Sequence[ExpertLora]],
) -> Float[Tensor, "tokens hidden"]:
    """The weighted sum of each token's chosen experts, each with its LoRAs.

    Args:
        experts: `PackedExperts`, or a dense layer of transformers with stacked matrices.
        hidden: What the layer is given.
        chosen: Experts by number.
        weights: The router's, of those.
        loras: By the name of the stack they're added to.
    """
    num_chosen = chosen.shape[-1]
    order = chosen.flatten().argsort(stable=True)
    groups = _Groups.of(chosen.flatten()[order], experts.num_experts)  # type: ignore[arg-type]
    rows = hidden[order // num_chosen]
    gate_up = _project(experts, "gate_up_proj", rows, groups, loras)
    outputs = _project(experts, "down_proj", experts._apply_gate(gate_up), groups, loras)  # type: ignore[operator]
    weighted = outputs * weights.flatten()[order, None]
    # Back in the tokens' order and summed there: adding at indices has no fixed order on a GPU
    return weighted[order.argsort()].unflatten(0, (-1, num_chosen)).sum(1).to(hidden.dtype)


def is_experts_layer(module: nn.Module) -> bool:
    """Whether `experts_forward` computes what a module does: gated experts, and nothing more."""
    if isinstance(module, PackedExperts):
        return True
    weights = dict(module.named_parameters())  # with those of a norm inside, say
    known = {*MATRICES, *(f"{name}_bias" for name in MATRICES)}
    return (
        hasattr(module, "_apply_gate")
        and set(MATRICES) <= set(weights) <= known
        and all(weights[name].ndim == 3 and weights[name].is_floating_point() for name in MATRICES)
    )


@dataclass(frozen=True, slots=True)
class _Groups:
    """Which rows belong to which expert; rows are sorted by expert."""

    expert_of: Int[Tensor, " rows"]
    hit: Int[Tensor, " hit"]
    """The experts that have rows."""
    spans: list[tuple[int, slice]]
    """The same, and where their rows are."""

    @classmethod
    def of(cls, expert_of: Int[Tensor, " rows"], num_experts: int) -> "_Groups":
        if isinstance(expert_of, FakeTensor):  # only the rows' number is known: shared evenly
            share, rest = divmod(len(expert_of), num_experts)
            sizes = [share + (expert < rest) for expert in range(num_experts)]
            hit = torch.arange(min(len(expert_of), num_experts), device=expert_of.device)
        else:
            numbers = torch.arange(num_experts + 1, device=expert_of.device)
            counts = torch.searchsorted(expert_of, numbers).diff()
            sizes = counts.tolist()  # the one time that a GPU is waited for
            hit = (counts == 0).int().argsort(stable=True)[: num_experts - sizes.count(0)]
        spans = [
            (expert, slice(end - size, end))
            for expert, (size, end) in enumerate(zip(sizes, accumulate(sizes), strict=True))
            if size
        ]
        return cls(expert_of, hit, spans)


def _project(
    experts: nn.Module,
    name: str,
    rows: Float[Tensor, "rows in"],
    groups: _Groups,
    loras: Mapping[str, Sequence[ExpertLora]],
) -> Float[Tensor, "rows out"]:
    """Each row through its expert's matrix, bias and LoRAs of one stack.

    LoRA's update comes first and the large product is added to it before it is rounded, since small
    updates added to what is rounded already are lost in 16 bits (`fused_lora.py`).
    """
    update = _update(rows, groups, loras.get(name, ()))
    if isinstance(experts, PackedExperts):
        cast = _autocast(rows)
        added = None if update is None else update.to(cast.dtype)
        product = _PackedProduct.apply(cast, added, *experts.packed(name), groups)
    else:
        stack = getattr(experts, name)
        matrices = stack.mT if experts.is_transposed else stack
        product = _grouped(rows, matrices, groups, update)
    bias = getattr(experts, f"{name}_bias", None)
    return product if bias is None else product + bias[groups.expert_of]


def _update(
    rows: Float[Tensor, "rows in"], groups: _Groups, loras: Sequence[ExpertLora]
) -> Float[Tensor, "rows out"] | None:
    """What the LoRAs of a stack add; None without any."""
    updates = [
        scaling * _grouped(_grouped(rows.to(a.dtype), a, groups), b, groups)
        for a, b, scaling in loras
    ]
    return sum(updates[1:], updates[0]) if updates else None


def _grouped(
    rows: Float[Tensor, "rows in"],
    stack: Float[Tensor, "experts out in"],
    groups: _Groups,
    added: Float[Tensor, "rows out"] | None = None,
) -> Float[Tensor, "rows out"]:
    matrices = stack.unbind()  # at once, so that their gradients are put together at once
    products = (
        rows[span] @ matrices[expert].T
        if added is None
        else torch.addmm(added[span].to(rows.dtype), rows[span], matrices[expert].T)
        for expert, span in groups.spans
    )
    return torch.cat(list(products))


def _autocast(rows: Tensor) -> Tensor:
    device = rows.device.type
    if torch.is_autocast_enabled(device):
        return rows.to(torch.get_autocast_dtype(device))
    return rows


class _PackedProduct(torch.autograd.Function):
    """Each row times its expert's matrix, unpacked once in each direction and never kept."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        added: Tensor | None,
        blocks: Tensor,
        scales: Tensor,
        groups: _Groups,
    ) -> Tensor:
        ctx.save_for_backward(blocks, scales)
        ctx.groups, ctx.is_added_to = groups, added is not None
        return _multiply(rows, blocks, scales, groups, added, transposed=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        blocks, scales = ctx.saved_tensors
        product = _multiply(gradient, blocks, scales, ctx.groups, transposed=False)
        return product, gradient if ctx.is_added_to else None, None, None, None


def _multiply(
    rows: Float[Tensor, "rows _"],
    blocks: UInt8[Tensor, "experts out g 16"],
    scales: UInt8[Tensor, "experts out g"],
    groups: _Groups,
    added: Float[Tensor, "rows _"] | None = None,
    *,
    transposed: bool,
) -> Float[Tensor, "rows _"]:
    """Each row times its expert's matrix (out, in) or that transposed, a few experts at a time.

    What is to be added to that is added before it is rounded.
    """
    if isinstance(rows, FakeTensor):  # thousands of matrices would be unpacked for a shape
        return rows.new_empty(len(rows), blocks.shape[1] if transposed else scales.shape[2] * GROUP)
    matrix_bytes = scales[0].numel() * GROUP * rows.dtype.itemsize
    at_once = num_unpacked_at_once(matrix_bytes, rows.device.type)
    products: list[Tensor] = []
    for start in range(0, len(groups.spans), at_once):
        few = groups.hit[start : start + at_once]
        matrices = dequantize(blocks[few], scales[few], rows.dtype)
        spans = [span for _, span in groups.spans[start : start + at_once]]
        pairs = zip(spans, matrices.mT if transposed else matrices, strict=True)
        products += [
            rows[span] @ matrix if added is None else torch.addmm(added[span], rows[span], matrix)
            for span, matrix in pairs
        ]
        del matrices, pairs  # before the next are unpacked
    return torch.cat(products)


def num_unpacked_at_once(matrix_bytes: int, device_type: str) -> int:
    """How many experts' matrices of a size are unpacked together.

    A CPU multiplies fastest by what its cache still holds; a GPU is kept busy by many at once.
    """
    return 1 if device_type == "cpu" else max(1, _UNPACKED_BYTES // matrix_bytes)
