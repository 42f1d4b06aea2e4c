"""What does training on a suite's own task teach, and what does it teach without its targets?

Three scores of each suite: of the embedded model as it is; trained on the task's examples, none of
which the suite asks; and trained on the same with shuffled targets. Reports and adapters stay in
--out, a folder each, so `distmatch compare` takes them; what is there is not made again.

    python benchmarks/suites.py --json benchmarks/results/suites.json
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from machine import device_and_versions

import distmatch as dm
from distmatch.data.mixing import Task, shuffled
from distmatch.data.tasks import Deviation, Numbers, OutputControl, Suppression
from distmatch.data.tasks.output_control import MOST_WORDS
from distmatch.data.tasks.wordings import PHRASINGS
from distmatch.data.vocabulary import word_pool
from distmatch.evals import Report

TASKS: dict[str, Task] = {
    "given": OutputControl(
        words=tuple(range(2, MOST_WORDS + 1)),
        phrasings=tuple(PHRASINGS),
        pool=(*word_pool(), *word_pool("rare")),
    ),
    "suppression": Suppression(),
    "numbers": Numbers(),
    "deviation": Deviation(),
}
KINDS = ("base", "trained", "shuffled")
BATCH, SEED = 8, 0


def main() -> None:
    """Measure what isn't measured yet, then print every suite's main metrics."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the metrics go")
    parser.add_argument("--out", type=Path, default=Path("runs/suites"))
    parser.add_argument("--suites", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--steps", type=int, default=150)
    args = parser.parse_args()
    rows = []
    for suite in args.suites:
        for kind in KINDS:
            steps = 0 if kind == "base" else args.steps
            folder = args.out / f"{kind}-{steps}" / suite
            if not (folder / "report.json").exists():
                measure(suite, kind, folder, steps)
            report = Report.load(folder / "report.json")
            print(f"\n{suite}, {kind}\n{report.group_table()}", flush=True)
            metrics = report.to_json()["metrics"]
            rows.append({"suite": suite, "kind": kind, "steps": steps, "metrics": metrics})
    if args.json:
        about = {"command": " ".join(["python", *sys.argv])}
        about |= device_and_versions(torch.device("cpu"))
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def measure(suite: str, kind: str, folder: Path, steps: int) -> None:
    """Train, if the kind is trained, and leave the suite's report."""
    model, tokenizer = dm.load_model("smollm2-135m", device="cpu")
    if (folder / "adapter_config.json").exists():  # trained, but not measured yet
        model = dm.load_adapter(model, folder)  # type: ignore[assignment]
    elif steps:
        train, _ = TASKS[suite].draw(BATCH * steps, 0, SEED)
        trainer = dm.DistributionTrainer(
            model=model,
            processing_class=tokenizer,
            args=dm.DistributionConfig(
                output_dir=str(folder),
                learning_rate=1e-3,
                adam_beta2=0.97,
                warmup_steps=10,
                max_steps=steps,
                per_device_train_batch_size=BATCH,
                save_strategy="no",
                seed=SEED,
            ),
            peft_config=dm.lora("all", rank=16),
            train_dataset=shuffled(train, SEED) if kind == "shuffled" else train,
        )
        trainer.train()
        trainer.save_model()
        model = trainer.model
    dm.evaluate(model, tokenizer, suites=[suite], seed=SEED)[suite].save(folder / "report.json")


if __name__ == "__main__":
    main()
