"""Can a model learn to choose two rare words by a seed, and how is what trains it hacked?

Trains on prompts that leave the words to the model, with targets on its own two likeliest words,
on the same but no word for two prompts, on rare words drawn for each prompt, and, as a control, on
its own two likeliest with the numbers of other prompts; then asks the suite `not_given`, whose
seeds are others. Reports and adapters stay in --out, a folder each; what is there is not made
again.

    python benchmarks/own_words.py --bf16 --json benchmarks/results/own_words.json
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from machine import device_and_versions
from torch import nn

import distmatch as dm
from distmatch.data import shuffled
from distmatch.evals import SUITES, LocalSource, measure_all
from distmatch.models import ModelChoice
from distmatch.own_words import CHOICES, OwnWordTargets
from distmatch.runs import Run, perform

KINDS = (*CHOICES, "shuffled")
BATCH, SEED = 8, 0
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHOWN = ("tvd", "other", "policy_tvd", "rare", "same_pair")


def main() -> None:
    """Measure what isn't measured yet, then print the metrics of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the metrics go")
    parser.add_argument("--out", type=Path, default=Path("runs/own_words"))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--refresh-steps", type=int, default=25, help="until targets are made anew")
    parser.add_argument(
        "--bf16", action="store_true", help="train in bfloat16: faster where the CPU computes in it"
    )
    args = parser.parse_args()
    rows = []
    for kind in ("base", *args.kinds):
        how = f"-{args.steps}-{args.refresh_steps}{'-bf16' if args.bf16 else ''}"
        folder = args.out / (kind if kind == "base" else kind + how)
        if kind != "base":
            train(kind, folder, args.steps, args.refresh_steps, bf16=args.bf16)
        adapter = None if kind == "base" else folder
        source = LocalSource(choice=ModelChoice(name="smollm2-135m"), adapter=adapter, seed=SEED)
        ((_, report, _),) = measure_all(source, [SUITES["not_given"]], folder)
        print(kind, *(f"{name} {report.metrics[name]}" for name in SHOWN), sep="\n  ", flush=True)
        print("  says:", *(said(row) for row in report.rows()[:5]), sep="\n    ")
        rows.append({"kind": kind, "metrics": report.to_json()["metrics"]})
    if args.json:
        about = {"command": " ".join(["python", *sys.argv]), "steps": args.steps}
        about["refresh_steps"] = args.refresh_steps
        about |= device_and_versions(torch.device(DEVICE))
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def said(row: dict) -> str:
    """Of a row what was asked, and the two likeliest words."""
    (first, p), (second, q) = row["said"]["first"], row["said"]["second"]
    return f"asked {row['metadata']['p']:.2f}: {first} {p:.2f}, {second} {q:.2f}"


def train(kind: str, folder: Path, steps: int, refresh_steps: int, *, bf16: bool) -> None:
    """Leave an adapter trained on targets of this kind, unless it is there."""
    choice = ModelChoice(name="smollm2-135m")
    targets = OwnWordTargets(
        tokenizer=choice.load_tokenizer(), choice="best" if kind == "shuffled" else kind
    )

    def draw(model: nn.Module, n: int, seed: int) -> list[dm.Example]:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            rows = targets.draw(model, n, seed)
        return shuffled(rows, seed) if kind == "shuffled" else rows

    run = Run(
        model=choice,
        train=lambda model: draw(model, BATCH * refresh_steps, SEED + 1),
        lora=dm.lora("all", rank=16),
        refresh=lambda model, rows: draw(model, len(rows), int(torch.randint(1 << 31, ()))),
        config=dm.DistributionConfig(
            output_dir=str(folder),
            learning_rate=5e-4,
            warmup_steps=10,
            max_steps=steps,
            refresh_steps=refresh_steps,
            per_device_train_batch_size=BATCH,
            save_strategy="no",
            seed=SEED,
            bf16=bf16,
        ),
    )
    perform(run, resume=run.is_begun)


if __name__ == "__main__":
    main()
