"""What does each technique buy? The library's step with one of them switched off at a time.

Operations are calls of torch's kernels, those that only look at a tensor in another way left out:
what a GPU with short prompts waits for, and the same on every machine. Times are medians of steps
in turns, so that noise hits all alike. One step is eight examples of two words, prompts of 60
tokens, LoRA on every linear layer, forward and backward, gradients clipped, AdamW. Then the same
with two ordinary texts beside them, on which to stay near the base; with a beginning that all
prompts share; with ten words; and, on a model of its own, with LoRA on a late block alone.

    python benchmarks/techniques.py --json benchmarks/results/techniques.jsonl
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import device_and_versions, peak_mb, times_in_turns
from peft.tuners.lora import layer
from random_llama import tiny_llama
from sized_examples import Size, sized_examples
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import distmatch as dm
from distmatch.data import ordinary_texts
from distmatch.data.batching import Batch, make_batch
from distmatch.data.packing import Pack
from distmatch.data.trie import TokenIds, TokenTrie
from distmatch.losses import forward_kl, support_log_probs, word_log_probs
from distmatch.measuring import drift
from distmatch.measuring.kept_base import KeptBase
from distmatch.models import ModelChoice
from distmatch.models.attention import Tree, tree_inputs
from distmatch.models.cast_once import CastOnce
from distmatch.models.fused_lora import FusedLinear
from distmatch.models.head import unwrapped
from distmatch.models.proof import forward_way
from distmatch.models.trunk import Trunk
from distmatch.scoring import logits_and_text_states, model_encoder, row_logits

SHORT_TEXT, LONG_TEXT = 32, 64  # tokens
SIZES = {
    "": Size(words=2, batch=8),
    "200 tokens shared": Size(words=2, batch=8, prefix_tokens=200),
    "10 words, 2 examples": Size(words=10, batch=2),
}
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
_NO_KERNELS = ("detach", "_unsafe_view", "_local_scalar_dense")
Texts = Sequence[TokenIds]


def main() -> None:
    """Count and time the step in each precision, and write one row for each thing left out."""
    args = arguments()
    about = {
        "command": " ".join(["python", *sys.argv]),
        **device_and_versions(torch.device(args.device)),
        "load_average": os.getloadavg()[0],
    }
    for name in args.precisions:
        for expression, kinds in (("all", kinds_of_all), ("all@-1", kinds_of_late)):
            bench = Bench(args.model, args.device, expression, PRECISIONS[name], tiny=args.tiny)
            for row in bench.rows(kinds(bench), args.steps):
                row = {"precision": name, **row}
                print(json.dumps(row), flush=True)
                if args.json:
                    args.json.parent.mkdir(parents=True, exist_ok=True)
                    with args.json.open("a") as file:
                        file.write(json.dumps({**row, **about}) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the rows go")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each kind")
    parser.add_argument("--tiny", action="store_true", help="on a random model")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of step: how large, with what beside it, and what is switched off."""

    size: str = ""
    """Of `SIZES`."""
    where: str = ""
    """Of the LoRA, where it isn't everywhere."""
    texts: Texts = ()
    off: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """In words."""
        texts = f"{len(self.texts)} texts of {len(self.texts[0])}" if self.texts else ""
        parts = [f"with {what}" for what in (self.where, self.size, texts) if what]
        parts += [f"without {' and '.join(self.off)}"] if self.off else []
        return ", ".join(parts) or "whole"


def kinds_of_all(bench: "Bench") -> list[Kind]:
    """What can be switched off where LoRA is on every block."""
    kinds = [Kind(), Kind(off=("fused LoRA",))]
    if bench.precision is not None:
        kinds += [Kind(off=("casting once",)), Kind(off=("fused LoRA", "casting once"))]
    kinds += [Kind(off=("rows before the head",)), Kind(off=("tree",))]
    _, shared, more = SIZES
    kinds += [Kind(size=shared), Kind(size=shared, off=("shared prefixes",))]
    kinds += [Kind(size=more), Kind(size=more, off=("rows before the head",))]
    kinds += [Kind(size=more, off=("tree",))]
    for texts in bench.texts:
        for off in ((), ("one forward",), ("one forward", "kept states")):
            kinds.append(Kind(texts=texts, off=off))
    return kinds


def kinds_of_late(bench: "Bench") -> list[Kind]:
    """What can be switched off where LoRA is on one late block."""
    where = "LoRA on the last block alone"
    return [Kind(where=where), Kind(where=where, off=("kept states below",))]


class Bench:
    """A model with LoRA somewhere, and everything that a step of it needs.

    Args:
        name: Of the model.
        device: Where it runs.
        expression: Which weights learn.
        precision: Of mixed training; None: float32.
        tiny: A random model in its place.
    """

    def __init__(
        self,
        name: str,
        device: str,
        expression: str,
        precision: torch.dtype | None,
        *,
        tiny: bool = False,
    ) -> None:
        """Load, adapt, and keep what is kept."""
        tokenizer = ModelChoice(name=name).load_tokenizer()
        model: Any = tiny_llama(tokenizer) if tiny else dm.load_model(name, dtype="float32")[0]
        self.adapted = dm.attach_lora(model.to(device), dm.lora(expression, rank=16), seed=0)
        forward_way(self.adapted)  # found before a step is timed or counted
        self.encoder, self.precision = model_encoder(self.adapted, tokenizer), precision
        self.tries = {
            size: self.encoder.encode_all(sized_examples(tokenizer, SIZES[size])) for size in SIZES
        }
        self.weights = [weight for weight in self.adapted.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=0.0, weight_decay=0.0, fused=True)
        self.cast: CastOnce | None = CastOnce(self.adapted, precision)
        ordinary = [text for kind in ordinary_texts().values() for text in kind]
        longest = tuple(sorted(self.encoder.encode_texts(ordinary, LONG_TEXT), key=len)[-2:])
        self.texts = [tuple(text[:SHORT_TEXT] for text in longest), longest]
        self.kept = KeptBase([text for texts in self.texts for text in texts])
        self.trunk = None if expression == "all" else kept_trunk(self, model)

    def rows(self, kinds: Sequence[Kind], steps: int) -> Iterator[dict[str, Any]]:
        """Operations, milliseconds, peak memory and loss of each kind."""
        runs = {kind.name: partial(self.step, kind) for kind in kinds}
        losses = {name: run() for name, run in runs.items()}  # also warms up
        times = times_in_turns(runs, steps)
        for kind in kinds:
            with self.nothing_kept_in_vain(kind), Operations() as operations:
                peak = peak_mb(runs[kind.name])
            each = times[kind.name]
            yield {
                "step": kind.name,
                "operations": operations.count,
                "ms": round(statistics.median(each), 1),
                "range_ms": [round(min(each), 1), round(max(each), 1)],
                "peak_mb": round(peak) if self.adapted.device.type == "cpu" else None,
                "loss": losses[kind.name],
            }

    @contextmanager
    def nothing_kept_in_vain(self, kind: Kind) -> Iterator[None]:
        """Inside, cast matrices take no memory unless the kind uses them."""
        if "casting once" in kind.off:
            self.cast = None
        try:
            yield
        finally:
            self.cast = self.cast or CastOnce(self.adapted, self.precision)

    def step(self, kind: Kind) -> float:
        """One whole step."""
        off, device = kind.off, self.adapted.device.type
        is_mixed = self.precision is not None
        with (
            self.cast.installed() if self.cast and "casting once" not in off else nullcontext(),
            without_fused_lora(self.adapted) if "fused LoRA" in off else nullcontext(),
            self.trunk.installed()
            if self.trunk and "kept states below" not in off
            else nullcontext(),
            torch.autocast(device, self.precision, enabled=is_mixed),
        ):
            loss = self.loss_word_by_word(kind) if "tree" in off else self.loss(kind)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def loss(self, kind: Kind) -> Tensor:
        """Forward KL of the examples' trees, and of the texts beside them, if there are any."""
        together = "one forward" not in kind.off
        texts = kind.texts if together else ()
        with a_pack_each() if "shared prefixes" in kind.off else nullcontext():
            batch = make_batch(self.tries[kind.size], self.encoder, texts=texts)
        batch = batch.to(self.adapted.device)
        if "rows before the head" in kind.off:
            logits = logits_everywhere(self.adapted, batch)
        else:
            logits, states = logits_and_text_states(self.adapted, batch)
        scores = word_log_probs(logits, batch)
        loss = forward_kl(support_log_probs(scores, batch.is_free), batch.target).mean()
        if kind.texts and together:
            return loss + self.kept.kl_of_states(self.adapted, kind.texts, states).mean()
        if kind.texts:
            text_kl = drift.text_kl if "kept states" in kind.off else self.kept.text_kl
            return loss + text_kl(self.adapted, kind.texts).mean()
        return loss

    def loss_word_by_word(self, kind: Kind) -> Tensor:
        """The same of one sequence for every word, each in a pack of its own."""
        tries = self.tries[kind.size]
        one = dm.WordDistribution(("word",), (1.0,))
        alone = [
            TokenTrie(t.prompt_ids, (path,), t.boundary, one) for t in tries for path in t.paths
        ]
        with a_pack_each():
            batch = make_batch(alone, self.encoder).to(self.adapted.device)
        scores = word_log_probs(row_logits(self.adapted, batch), batch).words.reshape(
            len(tries), -1
        )
        target = torch.tensor([trie.target.probs for trie in tries], device=scores.device)
        return (target * (target.log() - scores)).sum(-1).mean()  # other is to be 0: no term


def logits_everywhere(adapted: nn.Module, batch: Batch) -> Tensor:
    """The logits of the rows that predict, cut out of those of all tokens."""
    tree = Tree(batch.ids, batch.depths, batch.ends)
    logits = adapted(**tree_inputs(unwrapped(adapted), tree)).logits
    return logits.flatten(0, 1)[batch.row_tokens].float()


def kept_trunk(bench: Bench, model: nn.Module) -> Trunk:
    """The states that enter the last block, of the bench's examples."""
    batches = [make_batch([trie], bench.encoder) for trie in bench.tries[""]]
    trees = [Tree(batch.ids, batch.depths, batch.ends) for batch in batches]
    trunk = Trunk(bench.adapted, trees, mixed=bench.precision, progress=False)
    trunk.raise_to(model.config.num_hidden_layers - 1)
    return trunk


@contextmanager
def a_pack_each() -> Iterator[None]:
    """Inside, nothing is fed together with anything else."""
    takes = Pack.takes
    Pack.takes = lambda *_args, **_over: False  # type: ignore[method-assign]
    try:
        yield
    finally:
        Pack.takes = takes  # type: ignore[method-assign]


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
