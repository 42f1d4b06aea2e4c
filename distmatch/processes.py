"""Processes that torchrun or `accelerate launch` started together, at work on one thing."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather, gather_object

from distmatch.progress import phase

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_first() -> bool:
    """Whether this process is the one that writes and tells; so is one that is alone."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_all() -> None:
    """Until every process is here."""
    PartialState().wait_for_everyone()


def gathered(count: int) -> list[int]:
    """A number of every process, by rank."""
    state = PartialState()
    if state.num_processes == 1:
        return [count]
    counts: list[int] = gather(torch.tensor([count], device=state.device)).tolist()
    return counts


def shared_out(
    items: Sequence[Item],
    result_of: Callable[[Item], Result],
    *,
    shared: bool,
    progress: str | None = None,
) -> list[Result]:
    """The result of each item, in their order.

    Args:
        items: The same in every process.
        result_of: Of one; what it gives can be pickled, and lies on the CPU.
        shared: Every process asks for the same now: each computes its share, and all get all.
            Without it this process computes them all.
        progress: What it is called where progress is shown; None: it isn't shown.
    """
    rank, count = (PartialState().process_index, PartialState().num_processes) if shared else (0, 1)
    mine = []
    share = items[rank::count]
    with phase(progress or "", len(share), shown=progress is not None) as computing:
        for item in share:
            mine.append(result_of(item))
            computing.advance()
    if count == 1:
        return mine
    of_all = gather_object([mine])
    return [of_all[i % count][i // count] for i in range(len(items))]


def of_the_first(make: Callable[[], Result]) -> Result:
    """What the first process makes, in all of them; the others wait for it.

    Args:
        make: Called in the first process alone; what it gives can be pickled.
    """
    state = PartialState()
    if state.num_processes == 1:
        return make()
    (made,) = broadcast_object_list([make() if state.is_main_process else None])
    return made
