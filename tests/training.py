"""A few training steps of a tiny model, and which weights they moved."""

import copy

import torch

IDS = torch.tensor([[5, 9, 40, 77, 3, 120, 64, 8, 200, 31, 17, 290]])


def trained(model, num_steps=3):
    """Weights before and after a few steps that minimise the surprise at IDS."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-2)
    before = copy.deepcopy(model.state_dict())
    for _ in range(num_steps):
        optimizer.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    return before, model.state_dict()


def moved(before, after):
    return {name for name, weight in after.items() if not torch.equal(weight, before[name])}
