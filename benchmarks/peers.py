"""What does a training step take, ours and those that one would take without us?

- ours: each prompt once, its words as a tree, logits only where something is predicted;
- plain: transformers and peft, one padded sequence for every word, all logits, in micro-batches of
  at most 1,500 tokens; where that makes several, the first is timed and the rest extrapolated;
- trl_sft: TRL's SFTTrainer, one sampled word a prompt, so a step that learns less from as much.

All have the same prompts, words, targets, base, LoRA (rank 16 on all linear layers), optimiser and
examples a step, in float32, with the end of the turn after each word. One axis at a time leaves the
centre: 10 words of two tokens, prompts of 60 tokens, 2 examples. Each contestant has a process of
its own, for its memory, and they take turns, one step at a time; times are medians, with the least
and the most. The losses of ours and plain are held against each other over the words that were run.

Last, TRL's generalised Jensen-Shannon against the library's: words of one token, one position, on a
random Llama 3.1 8B an eighth as wide, whose head has the same share of it. TRL takes targets over
the whole vocabulary: as its GKDTrainer has it, with all logits, and on the slot's logits alone.

    python benchmarks/peers.py --json benchmarks/results/peers.jsonl
    python benchmarks/peers.py --tiny                              # seconds, on a random model
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

import peft
import torch
import trl
from machine import device_and_versions
from peer_steps import Contestant, Step
from sized_examples import Size, sized_examples
from tqdm.auto import tqdm

from distmatch.models import ModelChoice

CENTRE = Size()
AXES: dict[str, list[Size]] = {
    "words": [Size(words=2), CENTRE, Size(words=50)],
    "word_tokens": [Size(word_tokens=1), CENTRE, Size(word_tokens=4)],
    "prompt_tokens": [CENTRE, Size(prompt_tokens=250), Size(prompt_tokens=1000)],
    "prefix_tokens": [CENTRE, Size(prefix_tokens=500)],
    "batch": [Size(batch=1), CENTRE, Size(batch=8)],
}
TINY_AXES = {"words": [Size(words=2, batch=1), Size(words=30, batch=1)]}
JSD = Size(word_tokens=1, batch=8)
STEPS, JSD_STEPS = ("ours", "plain", "trl_sft"), ("ours_jsd", "trl_jsd", "trl_jsd_slot")
TURNS, SLOW_TURN = 3, 10.0  # of a turn longer than so many seconds there are two


def main() -> None:
    """Time every size once, and write a row each as it is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the rows are added")
    parser.add_argument("--tiny", action="store_true", help="few sizes, on a random model")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--figure", type=Path, help="draw the rows of --json, and leave")
    args = parser.parse_args()
    if args.figure:
        from peer_figures import steps_figure

        steps_figure(args.json, args.figure)
        return
    axes = TINY_AXES if args.tiny else {axis: AXES[axis] for axis in args.axes}
    sizes = list(dict.fromkeys(size for axis in axes.values() for size in axis))
    about = {
        "command": " ".join(["python", *sys.argv]),
        **device_and_versions(torch.device("cpu")),
        "peers": f"trl {trl.__version__}, peft {peft.__version__}",
        "load_average": os.getloadavg()[0],
        "model": "tiny" if args.tiny else "smollm2-135m",
    }
    with ExitStack() as processes:

        def start(kind: str) -> Contestant:
            process: Any = processes.enter_context(Process())
            return process.Contestant(kind, tiny=args.tiny)

        for row in rows(sizes, JSD, start, most_turns=1 if args.tiny else TURNS):
            print(json.dumps(row), flush=True)
            if args.json:
                args.json.parent.mkdir(parents=True, exist_ok=True)
                with args.json.open("a") as file:
                    file.write(json.dumps({**row, **about}) + "\n")


def rows(
    sizes: Sequence[Size], jsd: Size, start: Callable[[str], Contestant], most_turns: int
) -> Iterator[dict[str, Any]]:
    """A row for each size, and one of Jensen-Shannon.

    Args:
        sizes: Of the steps.
        jsd: Of that one.
        start: Makes a contestant by its kind.
        most_turns: How often each is timed.
    """
    tokenizer = ModelChoice(name="smollm2-135m").load_tokenizer()
    contestants = {kind: start(kind) for kind in STEPS}
    for size in tqdm(sizes, leave=False):
        measured, _, first = measure(contestants, size, most_turns)
        targets = [p for e in sized_examples(tokenizer, size) for p in e.target.probs]
        yield {
            "loss": "forward_kl",
            **asdict(size),
            **measured,
            "ratio": round(measured["plain_ms"] / measured["ours_ms"], 2),
            "loss_difference": loss_difference(first, targets, size),
            "micro_batches": first["plain"].micro_batches,
            "extrapolated": first["plain"].micro_batches > 1,
        }
    contestants = {kind: start(kind) for kind in JSD_STEPS}
    measured, held, _ = measure(contestants, jsd, most_turns)
    above = {f"{kind}_above_mb": round(measured[f"{kind}_mb"] - held[kind]) for kind in JSD_STEPS}
    yield {"loss": "jensen_shannon", **asdict(jsd), **measured, **above}


class Process(BaseManager):
    """A process that holds one contestant and begins with the packages, but without our memory."""

    def __init__(self) -> None:
        """Nothing is started."""
        context = get_context("forkserver")
        context.set_forkserver_preload(["distmatch.scoring", "trl.trainer.sft_trainer"])
        super().__init__(ctx=context)


Process.register("Contestant", Contestant)


def measure(
    contestants: Mapping[str, Contestant], size: Size, most_turns: int
) -> tuple[dict[str, Any], dict[str, float], dict[str, Step]]:
    """Times and peaks, what was held before the first step, and the first steps themselves."""
    held = {kind: contestant.get_ready(size) for kind, contestant in contestants.items()}

    def turn() -> dict[str, Step]:
        return {kind: contestant.take_step() for kind, contestant in contestants.items()}

    first = turn()  # also warms up
    took = sum(step.seconds / step.micro_batches for step in first.values())
    turns = [turn() for _ in range(min(2, most_turns) if took > SLOW_TURN else most_turns)]
    found: dict[str, Any] = {"turns": len(turns)}
    for kind, contestant in contestants.items():
        times = [round(1000 * each[kind].seconds, 1) for each in turns]
        found[f"{kind}_ms"] = round(statistics.median(times), 1)
        found[f"{kind}_range_ms"] = [min(times), max(times)]
        found[f"{kind}_mb"] = round(contestant.peak())
    return found, held, first


def loss_difference(first: Mapping[str, Step], targets: Sequence[float], size: Size) -> float:
    """Of the words that the plain loop ran, in nats an example."""
    pairs = zip(targets, first["ours"].scores, first["plain"].scores, strict=False)
    return abs(sum(prob * (ours - plain) for prob, ours, plain in pairs)) / size.batch


if __name__ == "__main__":
    main()
