"""Teach the embedded model to answer with given words at given probabilities, in minutes on a CPU.

Leaves in runs/quickstart/: metrics.json, calibration.png, and the adapter in PEFT's format.

    make quickstart
"""

import argparse
import time
from pathlib import Path

import torch

import distmatch as dm
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.tasks.wordings import AHEAD_WORDINGS
from distmatch.data.vocabulary import word_pool, words_of_tokens
from distmatch.errors import ConfigError
from distmatch.evals import comparison_table, save_comparison
from distmatch.trainer import check_output_dir

BATCH = 8


def main() -> None:
    """Measure, train, measure again on words never trained on, and write down the difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--steps", type=int, default=360)
    parser.add_argument("--seed", type=int, default=0, help="of the data and the adapter")
    args = parser.parse_args()
    try:
        check_output_dir(args.out, resume=False)
    except ConfigError:
        parser.error(
            f"{args.out} holds an earlier run: delete it, or start "
            "`.venv/bin/python examples/quickstart.py --out DIRECTORY`"
        )
    start = time.perf_counter()

    model, tokenizer = dm.load_model("smollm2-135m")
    if bf16 := computes_in_bf16():
        model.set_attn_implementation("eager")  # on a CPU, in bf16, sooner done than torch's fused
    pool = words_of_tokens((*word_pool(), *word_pool("rare")), tokenizer, at_least=3)
    task = OutputControl(words=(2,), wordings=AHEAD_WORDINGS, hold_out=("words",), pool=pool)
    train, test = task.draw(n=BATCH * args.steps, n_test=200, seed=args.seed)
    print(f"{len(train)} examples to train on, {len(test)} to test with words not among them:")
    for example in test[:3]:
        print("  |", example.prompt[-1]["content"].replace("\n", "\n  | "))

    trainer = dm.DistributionTrainer(
        model=model,
        processing_class=tokenizer,
        args=dm.DistributionConfig(
            output_dir=str(args.out),
            loss="forward_kl",
            learning_rate=1e-3,
            adam_beta2=0.97,
            warmup_steps=10,
            max_steps=args.steps,
            per_device_train_batch_size=BATCH,
            save_strategy="no",
            seed=args.seed,
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),  # bf16 on a CPU has to be asked for like this
        ),
        peft_config=dm.lora("all", rank=16),
        train_dataset=train,
    )
    before = dm.evaluate(trainer.model, tokenizer, test)
    trainer.train()
    after = dm.evaluate(trainer.model, tokenizer, test)

    trainer.save_model()
    seconds = time.perf_counter() - start
    print(comparison_table({"before": before, "after": after}))
    history = trainer.state.log_history
    print(save_comparison(args.out, before, after, seconds=seconds, history=history))
    print(f"{seconds:.0f} s; the adapter, for stock PEFT too, is in {args.out}/")


def computes_in_bf16() -> bool:
    """Whether training runs on a CPU with instructions for bfloat16: a third of the time less."""
    can = torch.cpu.get_capabilities()
    has = any(can.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return has and not torch.cuda.is_available()


if __name__ == "__main__":
    main()
