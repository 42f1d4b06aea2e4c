"""What does each technique buy? The library's step with one of them switched off at a time.

Operations are calls of torch's kernels, those that only look at a tensor in another way left out:
what a GPU with short prompts waits for, and the same on every machine. Times are medians of steps
in turns, so that noise hits all alike. One step is quickstart's: eight examples of two words,
LoRA on every linear layer, forward and backward, gradients clipped, AdamW; then the same with two
ordinary texts beside them, on which to stay near the base.

    python benchmarks/techniques.py --json benchmarks/results/techniques.jsonl
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import device_and_versions, medians_in_turns, peak_mb
from peft.tuners.lora import layer
from step import examples
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import distmatch as dm
from distmatch.data import ordinary_texts
from distmatch.data.batching import Batch, make_batch
from distmatch.data.trie import TokenIds
from distmatch.losses import forward_kl, support_log_probs, word_log_probs
from distmatch.measuring import drift
from distmatch.measuring.kept_base import KeptBase
from distmatch.models.cast_once import CastOnce
from distmatch.models.fused_lora import FusedLinear
from distmatch.scoring import logits_and_text_states, model_encoder

SHORT_TEXT, LONG_TEXT = 32, 64  # tokens
_NO_KERNELS = ("detach", "_unsafe_view", "_local_scalar_dense")
Texts = Sequence[TokenIds]


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
    tries = encoder.encode_all(examples(tokenizer, 2))
    device: torch.device = adapted.device

    def batch_beside(texts: Texts) -> Batch:
        return make_batch(tries, encoder, texts=texts).to(device)

    longest = [text for kind in ordinary_texts().values() for text in kind]
    texts = sorted(encoder.encode_texts(longest, LONG_TEXT), key=len)[-2:]
    about = {
        "command": " ".join(["python", *sys.argv]),
        **device_and_versions(adapted.device),
        "load_average": os.getloadavg()[0],
    }
    for name in args.precisions:
        for row in measure(adapted, batch_beside, precisions[name], args.steps, texts):
            row = {"precision": name, **row}
            print(json.dumps(row), flush=True)
            if args.json:
                args.json.parent.mkdir(parents=True, exist_ok=True)
                with args.json.open("a") as file:
                    file.write(json.dumps({**row, **about}) + "\n")


def measure(
    adapted: nn.Module,
    batch_beside: Callable[[Texts], Batch],
    precision: torch.dtype | None,
    steps: int,
    retention: Texts,
) -> Iterator[dict[str, Any]]:
    """Operations, median milliseconds, peak memory and loss, with all and without each."""
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.0, weight_decay=0.0, fused=True)  # all see equal
    cast = CastOnce(adapted, precision)
    on_cpu = adapted.device.type == "cpu"  # type: ignore[union-attr]

    def step(*, off: tuple[str, ...] = (), beside: Texts = ()) -> float:
        casts = "casting once" in off or precision is None
        with (
            nullcontext() if casts else cast.installed(),
            without_fused_lora(adapted) if "fused LoRA" in off else nullcontext(),
            torch.autocast(adapted.device.type, precision, enabled=precision is not None),  # type: ignore[union-attr, arg-type]
        ):
            together = bool(beside) and "one forward" not in off
            batch = batch_beside(beside if together else ())
            logits, states = logits_and_text_states(adapted, batch)
            scores = word_log_probs(logits, batch)
            loss = forward_kl(support_log_probs(scores, batch.is_free), batch.target).mean()
            if together:
                loss = loss + kept.kl_of_states(adapted, beside, states).mean()
            elif beside:
                text_kl = drift.text_kl if "kept states" in off else kept.text_kl
                loss = loss + text_kl(adapted, beside).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    ablations: list[tuple[str, ...]] = [(), ("fused LoRA",)]
    if precision is not None:
        ablations += [("casting once",), ("fused LoRA", "casting once")]
    kinds = {_name("", off): partial(step, off=off) for off in ablations}
    shorter = [text[:SHORT_TEXT] for text in retention]
    for beside in (shorter, retention):
        for off in ((), ("one forward",), ("one forward", "kept states")):
            name = _name(f"{len(beside)} texts of {len(beside[0])}", off)
            kinds[name] = partial(step, beside=beside, off=off)
    kept = KeptBase([*retention, *shorter])
    losses = {name: run() for name, run in kinds.items()}  # also warms up
    times = medians_in_turns(kinds, steps)
    for name, run in kinds.items():
        with Operations() as operations:
            run()
        yield {
            "step": name,
            "operations": operations.count,
            "ms": times[name],
            "peak_mb": round(peak_mb(run)) if on_cpu else None,
            "loss": losses[name],
        }


def _name(beside: str, off: tuple[str, ...]) -> str:
    parts = [f"with {beside}"] if beside else []
    parts += [f"without {' and '.join(off)}"] if off else []
    return ", ".join(parts) or "whole"


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
