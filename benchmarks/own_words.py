"""Can a model learn to choose two rare words by a seed, and how is what trains it hacked?

Trains on prompts that leave the words to the model, with targets on its own two likeliest words,
on the same but no word for two prompts, and on rare words drawn for each prompt; then asks the
suite `not_given`, whose seeds are others. Reports and adapters stay in --out, a folder each; what
is there is not made again.

    python benchmarks/own_words.py --json benchmarks/results/own_words.json
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from machine import device_and_versions

import distmatch as dm
from distmatch.evals import Report
from distmatch.own_words import CHOICES, OwnWordTargets

BATCH, SEED = 8, 0
SHOWN = ("tvd", "other", "policy_tvd", "rare", "same_pair")


def main() -> None:
    """Measure what isn't measured yet, then print the metrics of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the metrics go")
    parser.add_argument("--out", type=Path, default=Path("runs/own_words"))
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--refresh-steps", type=int, default=25, help="until targets are made anew")
    args = parser.parse_args()
    rows = []
    for choice in ("base", *args.choices):
        how = "" if choice == "base" else f"-{args.steps}-{args.refresh_steps}"
        folder = args.out / f"{choice}{how}"
        if not (folder / "report.json").exists():
            if choice != "base" and not (folder / "adapter_config.json").exists():
                train(choice, folder, args.steps, args.refresh_steps)
            model, tokenizer = dm.load_model("smollm2-135m", device="cpu")
            if choice != "base":
                model = dm.load_adapter(model, folder)  # type: ignore[assignment]
            report = dm.evaluate(model, tokenizer, suites=["not_given"], seed=SEED)["not_given"]
            report.save(folder / "report.json")
        report = Report.load(folder / "report.json")
        print(choice, *(f"{name} {report.metrics[name]}" for name in SHOWN), sep="\n  ", flush=True)
        print("  says:", *(said(row) for row in report.rows()[:5]), sep="\n    ")
        rows.append({"choice": choice, "metrics": report.to_json()["metrics"]})
    if args.json:
        about = {"command": " ".join(["python", *sys.argv]), "steps": args.steps}
        about["refresh_steps"] = args.refresh_steps
        about |= device_and_versions(torch.device("cpu"))
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def said(row: dict) -> str:
    """Of a row what was asked, and the two likeliest words."""
    (first, p), (second, q) = row["said"]["first"], row["said"]["second"]
    return f"asked {row['metadata']['p']:.2f}: {first} {p:.2f}, {second} {q:.2f}"


def train(choice: str, folder: Path, steps: int, refresh_steps: int) -> None:
    """Leave an adapter trained on targets of this choice."""
    model, tokenizer = dm.load_model("smollm2-135m", device="cpu")
    targets = OwnWordTargets(tokenizer=tokenizer, choice=choice)
    trainer = dm.DistributionTrainer(
        model=model,
        processing_class=tokenizer,
        args=dm.DistributionConfig(
            output_dir=str(folder),
            learning_rate=5e-4,
            warmup_steps=10,
            max_steps=steps,
            refresh_steps=refresh_steps,
            per_device_train_batch_size=BATCH,
            save_strategy="no",
            seed=SEED,
        ),
        peft_config=dm.lora("all", rank=16),
        train_dataset=targets.draw(model, BATCH * refresh_steps, SEED + 1),
        refresh=targets,
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
