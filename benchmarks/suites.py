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
from distmatch.data import mixture, shuffled, word_pool
from distmatch.data.tasks import (
    PHRASINGS,
    Deviation,
    Numbers,
    OutputControl,
    Sequences,
    Suppression,
    Task,
)
from distmatch.data.tasks.output_control import MOST_WORDS
from distmatch.evals import SUITES, LocalSource, Report, measure_all
from distmatch.models import ModelChoice
from distmatch.runs import Run, perform

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
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


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
            report = kept_report(suite, kind, args)
            if report is None:
                continue
            print(f"\n{suite}, {kind}\n{report.group_table()}", flush=True)
            metrics = report.to_json()["metrics"]
            steps = 0 if kind == "base" else args.steps
            rows.append({"suite": suite, "kind": kind, "steps": steps, "metrics": metrics})
    if args.json:
        about = {"command": " ".join(["python", *sys.argv])}
        about |= device_and_versions(torch.device(DEVICE))
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def kept_report(suite: str, kind: str, args: argparse.Namespace) -> Report | None:
    """The report of a kind on a suite, made unless it is there; None where none is to be made."""
    how = f"{args.steps}-bf16" if args.bf16 else f"{args.steps}"
    folder = args.out / ("base-0" if kind == "base" else f"{kind}-{how}")
    if args.kept:
        path = folder / suite / "report.json"
        return Report.load(path) if path.exists() else None
    adapter = None
    if kind != "base":
        trained_on = "given" if kind == "given only" else suite
        adapter = folder / suite if kind != "given only" else args.out / f"trained-{how}" / "given"
        train(examples(trained_on, kind, args.steps), adapter, args.steps, bf16=args.bf16)
    source = LocalSource(choice=ModelChoice(name="smollm2-135m"), adapter=adapter, seed=SEED)
    (measured,) = measure_all(source, [SUITES[suite]], folder)
    return measured.report


def examples(suite: str, kind: str, steps: int) -> list[dm.Example]:
    """What a kind is trained on."""
    if kind == "others":
        others = [task for name, task in TASKS.items() if name != suite]
        return mixture(others, n=BATCH * steps, n_test=0, seed=SEED)[0]
    drawn, _ = TASKS[suite].draw(BATCH * steps, 0, SEED)
    return shuffled(drawn, SEED) if kind == "shuffled" else drawn


def train(rows: list[dm.Example], folder: Path, steps: int, *, bf16: bool) -> None:
    """Leave an adapter trained on the rows, unless it is there."""
    run = Run(
        # On a CPU, in bf16, eager attention is sooner done than torch's fused
        model=ModelChoice(name="smollm2-135m", attention="eager" if bf16 else None),
        train=rows,
        lora=dm.lora("all", rank=16),
        config=dm.DistributionConfig(
            output_dir=str(folder),
            learning_rate=1e-3,
            adam_beta2=0.97,
            warmup_steps=10,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            save_strategy="no",
            seed=SEED,
            bf16=bf16,
        ),
    )
    perform(run, resume=run.is_begun)


if __name__ == "__main__":
    main()
