"""What a micro-batch is, and the modes that the model is in meanwhile."""

import torch
from torch import Tensor, nn

from distmatch.models.head import is_checkpointing


def row_numbers(items: list[int]) -> dict[str, Tensor]:
    """A micro-batch: the numbers of its examples, from which batches are made when used."""
    return {"rows": torch.tensor(items, dtype=torch.long)}


def nothing(model: nn.Module) -> Tensor:
    """Zero, but in the graph, so that a backward finds a gradient for every weight."""
    weights = (weight.sum() for weight in model.parameters() if weight.requires_grad)
    return sum(weights)[None] * 0.0  # type: ignore[index]


def train_only_adapters(model: nn.Module) -> None:
    """Evaluation mode everywhere but in LoRA's dropout, so that the base's states never change.

    Blocks that checkpoint keep their flag, on which that depends.
    """
    was_training = model.training
    for name, module in model.named_modules():
        keeps_mode = module is model or "lora_dropout" in name or is_checkpointing(module)
        module.training = was_training and keeps_mode
