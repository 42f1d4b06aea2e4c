"""What does each technique buy? The library's step with one of them switched off at a time.

Operations are calls of torch's kernels, those that only look at a tensor in another way left out:
what a GPU with short prompts waits for, and the same on every machine. Times are medians of steps
in turns, so that noise hits all alike. One step is quickstart's: eight examples of two words,
LoRA on every linear layer, forward and backward, gradients clipped, AdamW.

    python benchmarks/techniques.py --json benchmarks/results/techniques.jsonl
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import device_and_versions, medians_in_turns, peak_mb
from peft.tuners.lora import layer
from step import examples
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import distmatch as dm
from distmatch.data.batching import Batch, make_batch
from distmatch.losses import forward_kl, support_log_probs
from distmatch.models.cast_once import CastOnce
from distmatch.models.fused_lora import FusedLinear
from distmatch.scoring import model_encoder, score_batch

_NO_KERNELS = ("detach", "_unsafe_view", "_local_scalar_dense")
Ablation = Callable[[], AbstractContextManager[None]]


def main() -> None:
    """Count and time the step in each precision, and write one row for each thing left out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the rows go")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each kind")
    precisions = {"float32": None, "bfloat16": torch.bfloat16}
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=list(precisions))
    args = parser.parse_args()
    model, tokenizer = dm.load_model(args.model, dtype="float32")
    adapted = dm.attach_lora(model, dm.lora("all", rank=16), seed=0)
    encoder = model_encoder(adapted, tokenizer)
    batch = make_batch(encoder.encode_all(examples(tokenizer, 2)), encoder).to(adapted.device)
    about = {
        "command": " ".join(["python", *sys.argv]),
        **device_and_versions(adapted.device),
        "load_average": os.getloadavg()[0],
    }
    for name in args.precisions:
        for row in measure(adapted, batch, precisions[name], args.steps):
            row = {"precision": name, **row}
            print(json.dumps(row), flush=True)
            if args.json:
                args.json.parent.mkdir(parents=True, exist_ok=True)
                with args.json.open("a") as file:
                    file.write(json.dumps({**row, **about}) + "\n")


def measure(
    adapted: nn.Module, batch: Batch, precision: torch.dtype | None, steps: int
) -> Iterator[dict[str, Any]]:
    """Operations, median milliseconds, peak memory and loss, with all and without each."""

    def casting() -> AbstractContextManager[None]:
        return nullcontext() if precision is None else cast.installed()

    ablations: dict[str, Ablation] = {
        "nothing": casting,
        "fused LoRA": lambda: _within(casting(), without_fused_lora(adapted)),
        "casting once": nullcontext,
        "both": lambda: without_fused_lora(adapted),
    }
    if precision is None:
        ablations = {name: ablations[name] for name in ("nothing", "fused LoRA")}
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=0.0, weight_decay=0.0, fused=True
    )  # all see equal weights
    cast = CastOnce(adapted, precision)

    def step(ablation: Ablation) -> float:
        with ablation():
            loss = loss_of(adapted, batch, precision)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    kinds = {name: partial(step, ablation) for name, ablation in ablations.items()}
    losses = {name: kind() for name, kind in kinds.items()}  # also warms up
    times = medians_in_turns(kinds, steps)
    for name, kind in kinds.items():
        with Operations() as operations:
            kind()
        yield {
            "switched_off": name,
            "operations": operations.count,
            "ms": times[name],
            "peak_mb": round(peak_mb(kind)) if adapted.device.type == "cpu" else None,
            "loss": losses[name],
        }


def loss_of(adapted: nn.Module, batch: Batch, precision: torch.dtype | None) -> Tensor:
    """The forward KL of a batch, under autocast where a precision is given."""
    device = adapted.device.type  # type: ignore[union-attr]
    with torch.autocast(device, precision, enabled=precision is not None):
        scores = score_batch(adapted, batch)
        return forward_kl(support_log_probs(scores, batch.is_free), batch.target).mean()


@contextmanager
def without_fused_lora(adapted: nn.Module) -> Iterator[None]:
    """Inside, LoRA layers go PEFT's own way."""
    fused = [module for module in adapted.modules() if type(module) is FusedLinear]
    for module in fused:
        module.__class__ = layer.Linear
    try:
        yield
    finally:
        for module in fused:
            module.__class__ = FusedLinear


@contextmanager
def _within(
    outer: AbstractContextManager[None], inner: AbstractContextManager[None]
) -> Iterator[None]:
    with outer, inner:
        yield


class Operations(TorchDispatchMode):
    """Counts the kernels that are called inside, in both directions."""

    def __init__(self) -> None:
        """None yet."""
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Pass a call on, and count it unless all it returns is another view."""
        name = func._schema.name.split("::")[1]
        returns = [value.alias_info for value in func._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in returns)
        self.count += not (is_view or name.startswith(("empty", "new_empty", *_NO_KERNELS)))
        return func(*args, **(kwargs or {}))


if __name__ == "__main__":
    main()
