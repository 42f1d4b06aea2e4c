"""A step's time in parts: each is counted where it is spent, also when it is computed again."""

import time

import torch
from step_split import REST, Split, least_time
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import GptOssConfig

FORWARD, BACKWARD = 0.02, 0.03
CPU = torch.device("cpu")


class Sleep(torch.autograd.Function):
    """Takes its time in both directions, and saves what it is given."""

    @staticmethod
    def forward(ctx, given):
        ctx.save_for_backward(given)
        time.sleep(FORWARD)
        return given.clone()

    @staticmethod
    def backward(ctx, gradient):
        assert ctx.saved_tensors  # where checkpointing computes it again
        time.sleep(BACKWARD)
        return gradient.clone()


class Slow(nn.Module):
    def forward(self, given):
        return Sleep.apply(given)


class Block(nn.Module):
    """Has one of its modules told by keyword, as gpt-oss's, and takes a time of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Slow(), Slow()

    def forward(self, given):
        time.sleep(FORWARD)
        return self.second(given + self.first(given=2 * given))


class Checkpointed(Block):
    """As transformers' blocks, whose hooks run again with them."""

    def __call__(self, given):
        return checkpoint(super().__call__, given, use_reentrant=False)


def split(block, **names):
    """The parts of a forward, a backward and a wait, and how long it all took."""
    watched = Split(CPU)
    for name, module in names.items():
        watched.watch(module, name)
    given = torch.ones(4, requires_grad=True)

    def step():
        block(given).sum().backward()
        time.sleep(FORWARD)

    start = time.perf_counter()
    parts = watched.parts(step)
    return parts, 1000 * (time.perf_counter() - start)


def test_forward_and_backward_are_counted_to_the_module_they_are_of():
    block = Block()
    parts, whole = split(block, rest=block, first=block.first, second=block.second)
    assert min(parts["first"], parts["second"]) >= 1000 * (FORWARD + BACKWARD)
    assert parts[REST] >= 1000 * 2 * FORWARD
    assert sum(parts.values()) <= whole


def test_what_checkpointing_computes_again_is_counted_once_and_where_it_belongs():
    block = Checkpointed()
    parts, whole = split(block, rest=block, first=block.first, second=block.second)
    assert min(parts["first"], parts["second"]) >= 1000 * (2 * FORWARD + BACKWARD)
    assert parts[REST] >= 1000 * 3 * FORWARD
    assert sum(parts.values()) <= whole


def test_a_forward_that_checkpointing_breaks_off_is_over():
    block = Checkpointed()
    parts, _ = split(block, second=block.second)
    assert parts[REST] >= 1000 * (3 * FORWARD + BACKWARD)  # the first's backward, and the wait


def test_a_module_whose_input_has_no_gradient_leaves_its_backward_to_the_rest():
    learning, watched = nn.Sequential(nn.Linear(4, 4), Slow()), Split(CPU)
    watched.watch(learning, "learning")
    parts = watched.parts(lambda: learning(torch.ones(4)).sum().backward())
    assert parts["learning"] >= 1000 * FORWARD and parts[REST] >= 1000 * BACKWARD
    assert watched.parts(lambda: None).keys() == {REST}


def test_the_floor_of_gpt_oss_20b_is_that_of_its_published_size():
    config = GptOssConfig(num_hidden_layers=24, num_local_experts=32)
    rates = {"product_tflops": 1.0, "copy_gb_per_s": 4800.0}
    least = least_time(config, "mxfp4", 1000, rates)
    assert round(least["flops"] / 4e12, 2) == 3.03
    assert least["read_gb"] == 25.21 and round(least["reading_ms"], 2) == 5.25
    assert least["floor_ms"] == least["products_ms"] == round(least["flops"] / 1e9, 3)
