"""How exact can the embedded model become? A longer run, its learning curve, and what transfers.

Trains on two words with percentages in some wordings, then asks the same adapter what it never
saw: other words, other wordings, other ways to write probabilities, more words. The words are in
capitals and of four tokens or more: their first tokens are short pieces that many words share, so
that what is learned about some words holds for others. Interrupted, it goes on from its last
checkpoint when started again.

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
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.tasks.wordings import AHEAD_WORDINGS, PHRASINGS, WORDINGS
from distmatch.data.vocabulary import split_words, word_pool, words_of_tokens
from distmatch.evals import Report

BATCH, SEED, NUM_TEST, NUM_TOKENS = 8, 0, 200, 4


def main() -> None:
    """Train, or go on training; then measure every kind of transfer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/long"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument(
        "--bf16", action="store_true", help="train in bfloat16: faster where the CPU computes in it"
    )
    args = parser.parse_args()
    start = time.perf_counter()

    model, tokenizer = dm.load_model("smollm2-135m")
    if args.bf16:
        model.set_attn_implementation("eager")  # on a CPU, in bf16, sooner done than torch's fused
    train_words, test_words = split_words((*word_pool(), *word_pool("rare")), seed=SEED)
    task = OutputControl(
        words=(2,), wordings=AHEAD_WORDINGS, hold_out=(), pool=capitals(test_words, tokenizer)
    )
    train, _ = replace(task, pool=capitals(train_words, tokenizer)).draw(
        BATCH * args.steps, 0, SEED
    )
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
    for name, examples in {"held-out words": test, **transfer(task, test_words, tokenizer)}.items():
        reports[name] = dm.evaluate(trainer.model, tokenizer, examples)
        print(row(name, reports[name]))
        reports[name].save(args.out / f"{name.replace(' ', '_').replace(',', '')}.json")
    dm.plots.calibration(reports["held-out words"], args.out / "calibration.png")
    table = "\n".join([HEADER, *(row(name, report) for name, report in reports.items())])
    (args.out / "report.md").write_text(table + "\n")
    (args.out / "history.json").write_text(json.dumps(trainer.state.log_history, indent=1) + "\n")
    print(table, f"\n{seconds:.0f} s of training since this start")


def capitals(words: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The words in capitals, those of so many tokens that they're learned from each other."""
    return words_of_tokens(tuple(word.upper() for word in words), tokenizer, at_least=NUM_TOKENS)


def transfer(
    task: OutputControl, words: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[dm.Example]]:
    """Test sets that differ from the training examples in one more thing than their words.

    Args:
        task: What the training examples were drawn from, with held-out words.
        words: The held-out words in small letters.
        tokenizer: Counts their tokens.
    """
    unseen = tuple(name for name in WORDINGS if name not in AHEAD_WORDINGS)
    long, longer = (words_of_tokens(words, tokenizer, at_least=count) for count in (2, 3))
    known = capitals(words, tokenizer)
    few = [word.upper() for word in words if word.upper() not in known]
    changes: dict[str, dict[str, Sequence]] = {
        "more tokens": {"pool": words_of_tokens(known, tokenizer, at_least=NUM_TOKENS + 1)},
        "fewer tokens": {"pool": few},
        "small letters, three tokens": {"pool": longer},
        "small letters, one token": {"pool": [word for word in words if word not in long]},
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
