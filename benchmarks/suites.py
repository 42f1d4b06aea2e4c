"""What does training on a suite's own task teach, and on other tasks, and without its targets?

Scores of each suite: of the embedded model as it is; trained on the task's examples, none of which
the suite asks; trained on the same with shuffled targets; trained on the tasks of all other suites
together; and trained on given words alone. Reports and adapters stay in --out, a folder each, so
`distmatch compare` takes them; what is there is not made again.

    python benchmarks/suites.py --json benchmarks/results/suites.json
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from machine import device_and_versions

import distmatch as dm
from distmatch.data.mixing import mixture, shuffled
from distmatch.data.tasks import Deviation, Numbers, OutputControl, Sequences, Suppression, Task
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
    "sequence": Sequences(),
    "deviation": Deviation(),
}
KINDS = ("base", "trained", "shuffled", "others", "given only")
BATCH, SEED = 8, 0


def main() -> None:
    """Measure what isn't measured yet, then print every suite's main metrics."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the metrics go")
    parser.add_argument("--out", type=Path, default=Path("runs/suites"))
    parser.add_argument("--suites", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument(
        "--bf16", action="store_true", help="train in bfloat16: faster where the CPU computes in it"
    )
    parser.add_argument(
        "--kept", action="store_true", help="report what --out holds, and measure nothing"
    )
    args = parser.parse_args()
    rows = []
    for suite in args.suites:
        for kind in args.kinds:
            if suite == "given" and kind == "given only":
                continue  # what "trained" is
            steps = 0 if kind == "base" else args.steps
            trained = f"{steps}-bf16" if args.bf16 and steps else f"{steps}"
            folder = args.out / f"{kind}-{trained}" / suite
            if not (folder / "report.json").exists():
                if args.kept:
                    continue
                given = args.out / f"trained-{trained}" / "given"
                adapter = given if kind == "given only" else folder
                measure(suite, kind, folder, adapter, steps, bf16=args.bf16)
            report = Report.load(folder / "report.json")
            print(f"\n{suite}, {kind}\n{report.group_table()}", flush=True)
            metrics = report.to_json()["metrics"]
            rows.append({"suite": suite, "kind": kind, "steps": steps, "metrics": metrics})
    if args.json:
        about = {"command": " ".join(["python", *sys.argv])}
        about |= device_and_versions(torch.device("cpu"))
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def measure(suite: str, kind: str, folder: Path, adapter: Path, steps: int, *, bf16: bool) -> None:
    """Train, if the kind is trained and there is no adapter yet, and leave the suite's report."""
    model, tokenizer = dm.load_model("smollm2-135m", device="cpu")
    if steps and not (adapter / "adapter_config.json").exists():
        train(examples(suite if adapter == folder else "given", kind, steps), adapter, steps, bf16)
    if steps:
        model = dm.load_adapter(model, adapter)  # type: ignore[assignment]
    dm.evaluate(model, tokenizer, suites=[suite], seed=SEED)[suite].save(folder / "report.json")


def examples(suite: str, kind: str, steps: int) -> list[dm.Example]:
    """What a kind is trained on."""
    if kind == "others":
        others = [task for name, task in TASKS.items() if name != suite]
        return mixture(others, n=BATCH * steps, n_test=0, seed=SEED)[0]
    drawn, _ = TASKS[suite].draw(BATCH * steps, 0, SEED)
    return shuffled(drawn, SEED) if kind == "shuffled" else drawn


def train(rows: list[dm.Example], folder: Path, steps: int, bf16: bool) -> None:
    """Leave an adapter trained on the rows."""
    model, tokenizer = dm.load_model("smollm2-135m", device="cpu")
    if bf16:
        model.set_attn_implementation("eager")  # on a CPU, in bf16, sooner done than torch's fused
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
            bf16=bf16,
            use_cpu=True,
        ),
        peft_config=dm.lora("all", rank=16),
        train_dataset=rows,
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
