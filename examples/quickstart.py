"""Teach the embedded model to answer with given words at given probabilities, in minutes on a CPU.

Leaves in runs/quickstart/: metrics.json, calibration.png, and the adapter in PEFT's format.

    make quickstart
"""

import argparse
import json
import resource
import time
from pathlib import Path

import distmatch as dm
from distmatch.data.tasks.output_control import QUOTED_WORDINGS, OutputControl
from distmatch.evals import comparison_table


def main() -> None:
    """Measure, train, measure again on words never trained on, and write down the difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    start = time.perf_counter()

    model, tokenizer = dm.load_model("smollm2-135m")
    task = OutputControl(
        words=(2,), wordings=QUOTED_WORDINGS, hold_out=("words",), targets_per_prompt=4
    )
    train, test = task.draw(n=16 * args.steps, n_test=200)
    print(
        f"{len(train)} training examples; {len(test)} with words that never occur in them, such as"
    )
    for example in test[:3]:
        print("  |", example.prompt[-1]["content"].replace("\n", "\n  | "))

    before = dm.evaluate(model, tokenizer, test)
    trainer = dm.DistributionTrainer(
        model=model,
        processing_class=tokenizer,
        args=dm.DistributionConfig(
            output_dir=str(args.out),
            loss="forward_kl",
            learning_rate=2e-3,
            warmup_steps=10,
            max_steps=args.steps,
            per_device_train_batch_size=16,
            train_sampling_strategy="sequential",  # targets of one prompt are cheap side by side
            save_strategy="no",
        ),
        peft_config=dm.lora("all", rank=16),
        train_dataset=train,
    )
    trainer.train()
    after = dm.evaluate(trainer.model, tokenizer, test)

    trainer.save_model()
    reports = {"before": before, "after": after}
    dm.plots.calibration(reports, args.out / "calibration.png")
    metrics = {
        **{name: report.to_json()["metrics"] for name, report in reports.items()},
        "num_examples": len(test),
        "seconds": time.perf_counter() - start,
        "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(comparison_table(reports))
    print(f"{metrics['seconds']:.0f} s, {metrics['peak_rss_gb']:.1f} GB; see {args.out}/")


if __name__ == "__main__":
    main()
