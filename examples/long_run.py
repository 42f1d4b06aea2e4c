"""How exact can the embedded model become? A longer run, its learning curve, and what transfers.

Trains on two words with percentages in some wordings, then asks the same adapter what it never
saw: other words, other wordings, other ways to write probabilities, more words. Interrupted, it
goes on from its last checkpoint when started again. Most of the training words are wordfreq's
(extra `words`): a thousand words alone are learned better than the ones held out.

    python examples/long_run.py --out runs/long
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

import distmatch as dm
from distmatch.data.tasks.output_control import AHEAD_WORDINGS, PHRASINGS, WORDINGS, OutputControl
from distmatch.data.vocabulary import frequent_words, split_words, word_pool, words_of_tokens
from distmatch.evals import Report

BATCH, SEED, NUM_TEST = 8, 0, 200


def main() -> None:
    """Train, or go on training; then measure every kind of transfer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/long"))
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument(
        "--bf16", action="store_true", help="train in bfloat16: faster where the CPU computes in it"
    )
    args = parser.parse_args()
    start = time.perf_counter()

    model, tokenizer = dm.load_model("smollm2-135m")
    train_words, test_words = long_words(tokenizer)
    task = OutputControl(words=(2,), wordings=AHEAD_WORDINGS, hold_out=(), pool=test_words)
    train, _ = replace(task, pool=train_words).draw(BATCH * args.steps, 0, SEED)
    _, test = task.draw(1, NUM_TEST, SEED)
    trainer = dm.DistributionTrainer(
        model=model,
        processing_class=tokenizer,
        args=dm.DistributionConfig(
            output_dir=str(args.out),
            bf16=args.bf16,
            use_cpu=not torch.cuda.is_available(),  # bf16 on a CPU has to be asked for like this
            learning_rate=1e-3,
            adam_beta2=0.97,
            warmup_steps=20,
            max_steps=args.steps,
            per_device_train_batch_size=BATCH,
            logging_steps=25,
            eval_strategy="steps",
            eval_steps=300,
            save_steps=300,
            save_total_limit=1,
            seed=SEED,
        ),
        peft_config=dm.lora("all", rank=16),
        train_dataset=train,
        eval_dataset=test[:60],  # the curve's; the report has them all
    )
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model()
    seconds = time.perf_counter() - start
    dm.plots.learning_curve(trainer.state.log_history, args.out / "learning_curve.png")

    reports: dict[str, Report] = {}
    for name, examples in {"held-out words": test, **transfer(task, tokenizer)}.items():
        reports[name] = dm.evaluate(trainer.model, tokenizer, examples)
        print(row(name, reports[name]))
        reports[name].save(args.out / f"{name.replace(' ', '_')}.json")
    dm.plots.calibration(reports["held-out words"], args.out / "calibration.png")
    table = "\n".join([HEADER, *(row(name, report) for name, report in reports.items())])
    (args.out / "report.md").write_text(table + "\n")
    (args.out / "history.json").write_text(json.dumps(trainer.state.log_history, indent=1) + "\n")
    print(table, f"\n{seconds:.0f} s of training since this start")


def long_words(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words of three tokens or more: to train on, and shipped ones to be tested on."""
    shipped = words_of_tokens((*word_pool(), *word_pool("rare")), tokenizer, at_least=3)
    more = words_of_tokens(frequent_words(20_000, zipf=(1.5, 4.5)), tokenizer, at_least=3)
    train, held_out = split_words(tuple(dict.fromkeys((*shipped, *more))), seed=SEED)
    set_aside = set(held_out)
    return train, tuple(word for word in shipped if word in set_aside)


def transfer(
    task: OutputControl, tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[dm.Example]]:
    """Test sets that differ from the training examples in one more thing than their words."""
    unseen = tuple(name for name in WORDINGS if name not in AHEAD_WORDINGS)
    short = set(word_pool()) - set(words_of_tokens(word_pool(), tokenizer, at_least=2))
    changes: dict[str, dict[str, Sequence]] = {
        "words of one token": {"pool": sorted(short)},
        "held-out wordings": {"wordings": unseen},
        **{f"phrasing {name}": {"phrasings": (name,)} for name in PHRASINGS if name != "percent"},
        **{f"{count} words": {"words": (count,)} for count in (3, 4, 5)},
    }
    return {
        name: replace(task, **changed).draw(1, NUM_TEST // 2, SEED)[1]
        for name, changed in changes.items()
    }


HEADER = (
    "| asked | TVD | other | control TVD | policy TVD | slope | within 0.10 |\n"
    "|---|---|---|---|---|---|---|"
)


def row(name: str, report: Report) -> str:
    """A report as a line of a Markdown table."""
    shown = ("tvd", "other", "control_tvd", "policy_tvd", "slope", "within_0.10")
    return f"| {name} | " + " | ".join(str(report.metrics[metric]) for metric in shown) + " |"


if __name__ == "__main__":
    main()
