"""Floating-point operations of a training step, counted as it runs."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from distmatch.trainer import DistributionTrainer

Shape = torch.Size


def step_flops(trainer: DistributionTrainer) -> float:
    """Of an optimiser step's forwards and backwards, counted on its first examples.

    Args:
        trainer: Of the model in training; its gradients are added to.
    """
    size = trainer.args.per_device_train_batch_size
    rows = torch.arange(min(size, len(trainer.train_tries)))
    model = trainer.adapted.train()
    with (
        FlopCounterMode(display=False, custom_mapping=_NOT_COUNTED) as counter,
        trainer.accelerator.autocast(),
    ):
        trainer.compute_loss(model, {"rows": rows}).backward()
    return float(counter.get_total_flops()) * trainer.args.gradient_accumulation_steps


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(
    grad_out: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any
) -> int:
    return int(sdpa_backward_flop_count(grad_out, query, key, value))


def _added_product(_added: Shape, a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    return 2 * a[0] * a[1] * b[1]


def _grouped_product(a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    """Each row of one belongs to one matrix of the other, or each column."""
    stacked = a[0] if len(a) == len(b) == 3 else 1
    return 2 * stacked * a[-2] * a[-1] * b[-1]


# Operators that torch's counter takes for free
_NOT_COUNTED = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten._grouped_mm: _grouped_product,
    torch.ops.aten.addmm_: _added_product,
}
