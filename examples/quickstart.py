"""Teach the embedded model to answer with given words at given probabilities, in minutes on a CPU.

Leaves in runs/quickstart/: report.html, metrics.json, calibration.png, learning_curve.png, both
reports, and the adapter in PEFT's format.

    make quickstart
"""

import argparse
import time
from pathlib import Path

import torch

import distmatch as dm
from distmatch.data import AHEAD_WORDINGS, OutputControl, word_pool, words_of_tokens
from distmatch.errors import ConfigError
from distmatch.evals import Ordinary, OwnExamples
from distmatch.models import ModelChoice
from distmatch.runs import Run, perform

BATCH = 8


def main() -> None:
    """Measure, train, measure again, and write down the difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--steps", type=int, default=360)
    parser.add_argument("--seed", type=int, default=0, help="of the data and the adapter")
    args = parser.parse_args()
    start = time.perf_counter()
    try:
        perform(quickstart(args.out, args.steps, args.seed))
    except ConfigError as error:  # the folder holds an earlier run
        parser.error(f"{error} (--out DIRECTORY)")
    seconds = time.perf_counter() - start
    print(f"{seconds:.0f} s; the adapter, for stock PEFT too, is in {args.out}/")


def quickstart(folder: Path, steps: int, seed: int) -> Run:
    """Two words of several tokens with percents; a test on words held out, and the price."""
    bf16 = computes_in_bf16()
    # On a CPU, in bf16, eager attention is sooner done than torch's fused
    model = ModelChoice(name="smollm2-135m", attention="eager" if bf16 else None)
    words = (*word_pool(), *word_pool("rare"))
    pool = words_of_tokens(words, model.load_tokenizer(), at_least=3)
    task = OutputControl(words=(2,), wordings=AHEAD_WORDINGS, hold_out=("words",), pool=pool)
    train, test = task.draw(n=BATCH * steps, n_test=200, seed=seed)
    print(f"{len(train)} examples to train on, {len(test)} to test with words not among them:")
    for example in test[:3]:
        print("  |", example.prompt[-1]["content"].replace("\n", "\n  | "))
    return Run(
        model=model,
        train=train,
        suites=[OwnExamples(rows=test), Ordinary(questions=40, per_template=2, negatives=8)],
        origin=f"the task output_control of distmatch, seed {seed}",
        lora=dm.lora("all", rank=16),
        config=dm.DistributionConfig(
            output_dir=str(folder),
            loss="forward_kl",
            learning_rate=1e-3,
            adam_beta2=0.97,
            warmup_steps=10,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            save_strategy="no",
            seed=seed,
            bf16=bf16,
        ),
    )


def computes_in_bf16() -> bool:
    """Whether training runs on a CPU with instructions for bfloat16: a third of the time less."""
    can = torch.cpu.get_capabilities()
    has = any(can.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return has and not torch.cuda.is_available()


if __name__ == "__main__":
    main()
