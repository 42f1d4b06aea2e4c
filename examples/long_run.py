"""How exact can the embedded model become? A longer run, its learning curve, and what transfers.

Trains on two words with percentages in some wordings, then asks the same adapter what it never
saw: other words, other wordings, other ways to write probabilities, more words. The words are in
capitals and of four tokens or more: their first tokens are short pieces that many words share, so
that what is learned about some words holds for others. Interrupted, it goes on from its last
checkpoint when started again.

    python examples/long_run.py --out runs/long
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

import distmatch as dm
from distmatch.data import (
    AHEAD_WORDINGS,
    PHRASINGS,
    WORDINGS,
    OutputControl,
    split_words,
    word_pool,
    words_of_tokens,
)
from distmatch.evals import OwnExamples
from distmatch.models import ModelChoice
from distmatch.runs import Run, perform

BATCH, SEED, NUM_TEST, NUM_TOKENS = 8, 0, 200, 4


def main() -> None:
    """Train, or go on training; measure every kind of transfer before and after."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/long"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument(
        "--bf16", action="store_true", help="train in bfloat16: faster where the CPU computes in it"
    )
    args = parser.parse_args()
    run = long_run(args.out, args.steps, bf16=args.bf16)
    outcome = perform(run, resume=run.is_begun)
    table = outcome.after["examples"].group_table()
    (args.out / "report.txt").write_text(table + "\n")
    print(table)


def long_run(folder: Path, steps: int, *, bf16: bool) -> Run:
    """Many steps on two words, with a test for each kind of transfer."""
    # On a CPU, in bf16, eager attention is sooner done than torch's fused
    model = ModelChoice(name="smollm2-135m", attention="eager" if bf16 else None)
    tokenizer = model.load_tokenizer()
    train_words, test_words = split_words((*word_pool(), *word_pool("rare")), seed=SEED)
    task = OutputControl(
        words=(2,), wordings=AHEAD_WORDINGS, hold_out=(), pool=capitals(test_words, tokenizer)
    )
    train, _ = replace(task, pool=capitals(train_words, tokenizer)).draw(BATCH * steps, 0, SEED)
    _, test = task.draw(1, NUM_TEST, SEED)
    asked = {"held-out words": test, **transfer(task, test_words, tokenizer)}
    rows = [
        replace(example, metadata={**example.metadata, "group": name})
        for name, examples in asked.items()
        for example in examples
    ]
    return Run(
        model=model,
        train=train,
        suites=[OwnExamples(rows=rows)],
        eval_examples=test[:60],  # the curve's; the report has them all
        lora=dm.lora("all", rank=16),
        config=dm.DistributionConfig(
            output_dir=str(folder),
            bf16=bf16,
            learning_rate=1e-3,
            adam_beta2=0.97,
            warmup_steps=20,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            logging_steps=25,
            eval_strategy="steps",
            eval_steps=300,
            save_steps=300,
            save_total_limit=1,
            seed=SEED,
        ),
    )


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


if __name__ == "__main__":
    main()
