"""Does every divergence train a model from the untrained base, and does a warm-up help?

The same examples, steps, learning rate and adapter for each loss, with and without some steps of
forward KL first. Other is to be 0.02, since reverse KL needs it above 0. Each finished run is one
line of the results file; runs found there are not repeated.

    python benchmarks/divergences.py --json benchmarks/results/divergences.jsonl
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from machine import device_and_versions

import distmatch as dm
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.tasks.wordings import AHEAD_WORDINGS

LOSSES: list[tuple[str, float | None]] = [
    ("forward_kl", None),
    ("reverse_kl", None),
    ("jensen_shannon", 0.1),
    ("jensen_shannon", 0.5),
    ("jensen_shannon", 0.9),
    ("total_variation", None),
    ("skew_kl", 0.1),
]
BATCH, LEARNING_RATE, OTHER = 8, 1e-3, 0.02


def main() -> None:
    """Run what isn't in the results file yet, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/divergences.jsonl"))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--warmup", type=int, default=25, help="steps of forward KL, where asked")
    args = parser.parse_args()
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.touch()
    rows = [json.loads(line) for line in args.json.read_text().splitlines()]
    for loss, beta in LOSSES:
        for warmup in (0, args.warmup):
            settings = {"loss": loss, "beta": beta, "warmup": warmup, "steps": args.steps}
            if loss == "forward_kl" and warmup:
                continue  # it is its own warm-up
            if any(settings.items() <= row.items() for row in rows):
                continue
            rows.append(settings | run(loss, beta, warmup, args.steps))
            with args.json.open("a") as lines:
                lines.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


def run(loss: str, beta: float | None, warmup: int, steps: int) -> dict[str, float | str]:
    """Train once from the base, and measure on held-out words."""
    model, tokenizer = dm.load_model("smollm2-135m", device="cpu")
    task = OutputControl(words=(2,), wordings=AHEAD_WORDINGS)
    train, test = (
        [with_other(example) for example in side] for side in task.draw(BATCH * steps, 100)
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = dm.DistributionTrainer(
            model=model,
            processing_class=tokenizer,
            args=dm.DistributionConfig(
                output_dir=folder,
                loss=loss,
                beta=beta,
                warmup_steps_forward_kl=warmup,
                learning_rate=LEARNING_RATE,
                max_steps=steps,
                per_device_train_batch_size=BATCH,
                save_strategy="no",
            ),
            peft_config=dm.lora("all", rank=16),
            train_dataset=train,
            eval_dataset=test,
        )
        trainer.train()
        metrics = trainer.evaluate()
    measured = {name: round(metrics[f"eval_{name}"], 4) for name in ("tvd", "slope", "other")}
    return {**measured, **device_and_versions(model.device)}


def with_other(example: dm.Example) -> dm.Example:
    """The same example with a little probability for other."""
    probs = tuple((1 - OTHER) * prob for prob in example.target.probs)
    return replace(example, target=dm.WordDistribution(example.target.words, probs, OTHER))


def table(rows: list[dict[str, float | str]]) -> str:
    """The rows as Markdown."""
    lines = ["| loss | warm-up steps | TVD | slope | other |", "|---|---|---|---|---|"]
    for row in rows:
        name = row["loss"] if row["beta"] is None else f"{row['loss']} (beta {row['beta']})"
        shown = " | ".join(f"{row[key]:.3f}" for key in ("tvd", "slope", "other"))
        lines.append(f"| {name} | {row['warmup']} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
