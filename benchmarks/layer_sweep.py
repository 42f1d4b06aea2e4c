"""How much faster is a cell of a layer sweep than the loop a competent user would write?

A cell trains a LoRA on one kind of site of one block. Three loops take the same steps on the same
data from the same first weights, in turns:

- ours: each prompt once, its words as a tree, logits where something is predicted, and nothing
  below the block computed again (`models/trunk.py`);
- one_row: the same without the states kept, so a forward runs through every block;
- per_word: peft and transformers.Trainer, one padded sequence for every word, all logits.

In all of them the backward stops at the block, as autograd does by itself. Times are medians of
whole optimiser steps; ratios are of sums over the cells of every block, by a cost model: a straight
line in the number of blocks from the cell's upwards, for each loop and site, held against two more
cells. Before its steps each cell's loss and gradients are compared at the same random parameters.

    python benchmarks/layer_sweep.py --json benchmarks/results/layer_sweep.json
    python benchmarks/layer_sweep.py --tiny --steps 1 --blocks 0 1 --check   # a smoke run
"""

import argparse
import copy
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from machine import device_and_versions, medians_in_turns
from random_llama import tiny_llama
from torch import Tensor, nn
from transformers import Trainer

import distmatch as dm
from distmatch.data.batching import make_batch
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.tasks.wordings import AHEAD_WORDINGS
from distmatch.data.trie import TokenTrie
from distmatch.models import ModelChoice
from distmatch.models.lora import resolve
from distmatch.models.trunk import Tree, Trunk
from distmatch.scoring import model_encoder

LOOPS = ("ours", "one_row", "per_word")
TARGETS = {"ratio_all": 3.0, "ratio_upper_half": 5.0, "ratio_top_quarter": 7.5}
MODEL, BATCH, RANK = "smollm2-135m", 8, 16
_NOT_ZERO = 0.02  # the spread of random weights in place of LoRA's zeros, to compare gradients at


def main() -> None:
    """Run the sampled cells, then the two that the cost model is held against; write as it goes."""
    args = arguments()
    bench = Bench(args.steps, tiny=args.tiny)
    chosen = sorted({(block, site) for block in args.blocks for site in args.sites})
    checked = sorted((int(cell.partition("@")[2]), cell.partition("@")[0]) for cell in args.check)
    report: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        **device_and_versions(bench.models["ours"].device),
        "load_average": os.getloadavg()[0],
        "batch": BATCH,
        "steps": args.steps,
        "rank": RANK,
        "targets": TARGETS,
        "cells": [],
    }
    for block, site in sorted({*chosen, *checked}):  # upwards, as the states go
        report["cells"].append(bench.cell(site, block))
        print(json.dumps(report["cells"][-1]), flush=True)
        write(args.json, report)
    report |= summary(report["cells"], chosen, checked, bench)
    print(json.dumps({name: value for name, value in report.items() if name != "cells"}, indent=2))
    write(args.json, report)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--blocks", type=int, nargs="+", default=[0, 7, 15, 22, 29])
    parser.add_argument("--sites", nargs="+", default=["attention", "mlp"])
    parser.add_argument("--check", nargs="*", default=["attention@11", "mlp@26"], metavar="CELL")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each loop")
    parser.add_argument("--tiny", action="store_true", help="on a random model")
    return parser.parse_args()


def write(path: Path | None, report: dict[str, Any]) -> None:
    """Leave what is known so far."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n")


class Bench:
    """Each loop's own copy of the model, the data they share, and the states kept for ours."""

    def __init__(self, steps: int, *, tiny: bool = False) -> None:
        """Nothing is trained yet; tiny: a random model."""
        self.tokenizer = ModelChoice(name=MODEL).load_tokenizer()
        if tiny:
            model: Any = tiny_llama(self.tokenizer)
        else:
            model, _ = dm.load_model(MODEL, dtype="float32", device="cpu")
        self.models: dict[str, Any] = {name: copy.deepcopy(model) for name in LOOPS}
        self.encoder = model_encoder(model, self.tokenizer)
        self.num_blocks = model.config.num_hidden_layers
        self.steps = steps
        task = OutputControl(words=(2,), wordings=AHEAD_WORDINGS)
        self.examples, _ = task.draw(steps * BATCH, n_test=0)
        self.tries = self.encoder.encode_all(self.examples)
        batches = [make_batch([trie], self.encoder) for trie in self.tries]
        trees = [Tree(batch.ids, batch.depths, batch.ends) for batch in batches]
        self.trunk = Trunk(self.models["ours"], trees, progress=False)
        self.states_seconds = 0.0  # up to the highest block so far

    def cell(self, site: str, block: int) -> dict[str, Any]:
        """Milliseconds a step of each loop, and how far losses and gradients are from ours."""
        start = time.perf_counter()
        self.trunk.raise_to(block)
        self.states_seconds += time.perf_counter() - start
        losses: dict[str, list[float]] = {name: [] for name in LOOPS}
        with tempfile.TemporaryDirectory() as folder, self.trunk.installed():
            trainers = self.trainers(f"{site}@{block}", folder)
            different = differences(trainers)
            turns = {
                name: partial(next, steps_of(trainer, self.steps, losses[name]))
                for name, trainer in trainers.items()
            }
            times = medians_in_turns(turns, self.steps)
        for trainer in trainers.values():
            trainer.model.unload()
        far = [relative(losses[name], losses["ours"]) for name in LOOPS[1:]]
        return {
            "site": site,
            "block": block,
            **{f"{name}_ms": times[name] for name in LOOPS},
            "ratio": round(times["per_word"] / times["ours"], 2),
            "ratio_one_row": round(times["one_row"] / times["ours"], 2),
            **different,
            "losses_difference": max(far),
        }

    def trainers(self, expression: str, folder: str) -> dict[str, Trainer]:
        """One a loop, with the same first weights."""
        settings = dm.DistributionConfig(
            output_dir=folder,
            max_steps=self.steps,
            per_device_train_batch_size=BATCH,
            save_strategy="no",
            disable_tqdm=True,
            seed=0,
            use_cpu=True,
        )
        trainers: dict[str, Trainer] = {
            name: dm.DistributionTrainer(
                model=self.models[name],
                processing_class=self.tokenizer,
                args=settings,
                train_dataset=self.examples,
                peft_config=dm.lora(expression, rank=RANK),
            )
            for name in ("ours", "one_row")
        }
        theirs = self.models["per_word"]
        names = {s.path.rpartition(".")[2] for s in resolve(dm.lora(expression), theirs)}
        config = peft.LoraConfig(
            r=RANK,
            lora_alpha=2 * RANK,
            target_modules=sorted(names),
            layers_to_transform=[int(expression.partition("@")[2])],
            task_type="CAUSAL_LM",
        )
        trainers["per_word"] = PerWordTrainer(
            model=peft.get_peft_model(theirs, config),
            args=settings,
            train_dataset=[sequences(trie) for trie in self.tries],
            data_collator=partial(padded, ends=list(self.encoder.end_ids)),
        )
        for trainer in trainers.values():
            copy_weights(trainers["ours"].model, trainer.model)
            trainer.current_gradient_accumulation_steps = 1  # which its own loop would set
        return trainers


# The other loop ---------------------------------------------------------------------------------


class PerWordTrainer(Trainer):
    """Forward KL over words and other, from one padded sequence for every word."""

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], *_args: Any, **_kwargs: Any
    ) -> Tensor:
        """The mean over examples; other is to be 0, so it has no term."""
        logits = model(input_ids=inputs["ids"], attention_mask=inputs["mask"]).logits
        log_probs = logits.float().log_softmax(-1)
        tokens = log_probs[:, :-1].gather(-1, inputs["ids"][:, 1:, None])[..., 0]
        words = (tokens * inputs["is_word"][:, 1:]).sum(-1)
        last = log_probs[torch.arange(len(log_probs)), inputs["mask"].sum(-1) - 1]
        words = words + last[:, inputs["ends"]].logsumexp(-1)
        target = inputs["target"]
        return (target * (target.log() - words.reshape(target.shape))).sum(-1).mean()


def sequences(trie: TokenTrie) -> dict[str, Any]:
    """Prompt and word for each word, and the probabilities."""
    return {
        "prompt": list(trie.prompt_ids),
        "words": [list(path) for (path,) in trie.paths],
        "probs": trie.target.probs,
    }


def padded(items: list[dict[str, Any]], ends: list[int]) -> dict[str, Tensor]:
    """A row for every word of every example."""
    rows = [(item["prompt"], word) for item in items for word in item["words"]]
    pad = partial(nn.utils.rnn.pad_sequence, batch_first=True)
    return {
        "ids": pad([torch.tensor([*prompt, *word]) for prompt, word in rows]),
        "mask": pad([torch.ones(len(p) + len(w), dtype=torch.long) for p, w in rows]),
        "is_word": pad([torch.tensor([0.0] * len(p) + [1.0] * len(w)) for p, w in rows]),
        "target": torch.tensor([item["probs"] for item in items]),
        "ends": torch.tensor(ends),
    }


# Steps, and how equal they are ------------------------------------------------------------------


def steps_of(trainer: Trainer, num: int, losses: list[float]) -> Iterator[None]:
    """The trainer's own steps, one each time it is asked, so that loops can take turns."""
    trainer.create_optimizer_and_scheduler(num)
    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    rows = iter(trainer.get_train_dataloader())
    trainer.model.train()
    for _ in range(num):
        samples, items = trainer.get_batch_samples(rows, 1, trainer.args.device)
        loss = trainer.training_step(trainer.model, samples[0], items)
        nn.utils.clip_grad_norm_(parameters, trainer.args.max_grad_norm)
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
        trainer.model.zero_grad()
        losses.append(loss.item())
        yield


def differences(trainers: dict[str, Trainer]) -> dict[str, float]:
    """How far loss and gradients are from ours at the same random weights, relative; the farthest.

    The weights are set back.
    """
    before = weights(trainers["ours"].model)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in learning(trainers["ours"].model).values():
            weight.copy_(_NOT_ZERO * torch.randn_like(weight))
    found = {}
    for name, trainer in trainers.items():
        copy_weights(trainers["ours"].model, trainer.model)
        samples, items = trainer.get_batch_samples(
            iter(trainer.get_train_dataloader()), 1, trainer.args.device
        )
        loss = trainer.training_step(trainer.model, samples[0], items)
        gradients = [w.grad.flatten() for w in learning(trainer.model).values()]
        found[name] = [loss.item()], torch.cat(gradients).tolist()
        trainer.model.zero_grad()
    for trainer in trainers.values():
        for name, weight in learning(trainer.model).items():
            weight.data.copy_(before[name])
    ours = found.pop("ours")
    return {
        "loss_difference": max(relative(loss, ours[0]) for loss, _ in found.values()),
        "gradient_difference": max(relative(grad, ours[1]) for _, grad in found.values()),
    }


def learning(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that learn."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies of those that learn."""
    return {name: p.detach().clone() for name, p in learning(model).items()}


def copy_weights(source: nn.Module, to: nn.Module) -> None:
    """Give one model's LoRA the other's values; they have the same names."""
    theirs = learning(to)
    values = weights(source)
    assert values.keys() == theirs.keys()
    for name, value in values.items():
        theirs[name].data.copy_(value)


def relative(values: Sequence[float], expected: Sequence[float]) -> float:
    """The norm of the difference over that of what is expected."""
    a, b = (np.asarray(each, dtype=np.float64) for each in (values, expected))
    return float(f"{np.linalg.norm(a - b) / np.linalg.norm(b):.2e}")


# What it comes to -------------------------------------------------------------------------------


def summary(
    cells: Sequence[dict[str, Any]],
    chosen: Sequence[tuple[int, str]],
    checked: Sequence[tuple[int, str]],
    bench: Bench,
) -> dict[str, Any]:
    """Ratios over all blocks by the cost model, and how good that is."""
    by_place = {(cell["block"], cell["site"]): cell for cell in cells}
    sites = sorted({site for _, site in chosen})
    num = bench.num_blocks
    lines = {
        (loop, site): Line([(b, by_place[b, s][f"{loop}_ms"]) for b, s in chosen if s == site], num)
        for loop in LOOPS
        for site in sites
    }

    def ratio(loop: str, first: int) -> float:
        """Of all cells from a block upwards."""
        sums = [
            sum(lines[one, site](block) for site in sites for block in range(first, num))
            for one in (loop, "ours")
        ]
        return round(sums[0] / sums[1], 2)

    ours = sum(lines["ours", site](block) for site in sites for block in range(num))
    highest = max(block for block, _ in by_place)
    states = bench.states_seconds * (num - 1) / max(highest, 1)
    share = states * 1000 / (bench.steps * ours)
    return {
        "ratio_all": ratio("per_word", 0),
        "ratio_upper_half": ratio("per_word", num // 2),
        "ratio_top_quarter": ratio("per_word", num * 3 // 4),
        "ratio_one_row": ratio("one_row", 0),
        # States are computed once for all cells; here each row is used once in each cell
        "ratio_all_with_states": round(ratio("per_word", 0) / (1 + share), 2),
        "states_seconds": round(states, 2),
        "gradient_difference": max(cell["gradient_difference"] for cell in cells),
        "loss_difference": max(cell["loss_difference"] for cell in cells),
        "losses_difference": max(cell["losses_difference"] for cell in cells),
        "cost_model": [
            {"loop": loop, "site": site, "ms": [round(float(c), 2) for c in fit.coefficients]}
            for (loop, site), fit in lines.items()
        ],
        "cost_model_checked": [
            {
                "cell": f"{site}@{block}",
                "loop": loop,
                "ms": by_place[block, site][f"{loop}_ms"],
                "predicted_ms": round(lines[loop, site](block), 1),
            }
            for block, site in checked
            for loop in LOOPS
            if (loop, site) in lines
        ],
    }


class Line:
    """A straight line through milliseconds over the blocks from a cell's upwards."""

    def __init__(self, points: Sequence[tuple[int, float]], num_blocks: int) -> None:
        """Least squares; with one block alone it is flat."""
        self.num_blocks = num_blocks
        blocks, times = zip(*points, strict=True)
        above = [num_blocks - block for block in blocks]
        self.coefficients = np.polyfit(above, times, min(1, len(set(blocks)) - 1))
        """Of each block more, if there is one, and what remains."""

    def __call__(self, block: int) -> float:
        """Of a cell on that block."""
        return float(np.polyval(self.coefficients, self.num_blocks - block))


if __name__ == "__main__":
    main()
