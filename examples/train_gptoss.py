"""Teach gpt-oss to control its output on its published 4-bit weights, experts included.

Measures, trains, measures again on words never trained on; leaves metrics.json, figures and the
adapter. Interrupted, it goes on when started again with the same settings.

    python examples/train_gptoss.py --model openai/gpt-oss-20b --target experts@8-15
    python examples/train_gptoss.py --tiny --out runs/tiny      # offline
    python examples/train_gptoss.py --full-random --steps 20 --test-examples 8   # time and memory

gpt-oss usually thinks before it answers. With --effort none it answers at once; with low, medium or
high it is trained and measured behind analyses that it samples itself (--analyses of them for each
prompt, anew every --refresh-steps). To measure an adapter in the other way than it was trained:

    python examples/train_gptoss.py --tiny --steps 0 --adapter runs/tiny --effort low --out runs/low
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

import distmatch as dm
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.tasks.wordings import AHEAD_WORDINGS
from distmatch.data.templates import EFFORTS
from distmatch.evals import Report, comparison_table, save_comparison
from distmatch.files import write_text
from distmatch.models.checkpoints import free_memory
from distmatch.models.loading import DTYPES, QUANTIZATIONS, load_tokenizer
from distmatch.models.lora import target_table
from distmatch.models.quantizers import random_packed
from distmatch.thinking import sample_thinking
from distmatch.trainer.output_dir import last_checkpoint

SETTINGS = "settings.json"

Examples = list[dm.Example]
Sampler = Callable[[nn.Module, Sequence[dm.Example]], Examples]


def main() -> None:
    """Load the packed model, and teach it."""
    parser = arguments(__doc__, model="openai/gpt-oss-20b", quantization="mxfp4", rank=8)
    parser.add_argument("--effort", choices=("none", *EFFORTS), default="none")
    parser.add_argument("--analyses", type=int, default=1, help="sampled for each prompt")
    parser.add_argument("--analysis-tokens", type=int, default=256, help="where one is cut off")
    parser.add_argument("--refresh-steps", type=int, default=50, help="until they're sampled anew")
    random = parser.add_mutually_exclusive_group()
    random.add_argument("--tiny", action="store_true", help="a small random gpt-oss, kept in --out")
    random.add_argument(
        "--full-random", action="store_true", help="gpt-oss-20b's size of random weights"
    )
    args = parser.parse_args()
    if args.full_random and args.quantization != "mxfp4":
        parser.error("--full-random makes packed experts alone: leave out --quantization")
    if args.tiny:
        from offline_gptoss import tiny_checkpoint

        base = (args.adapter or args.out) / "base"
        if not (base / "tokenizer.json").is_file():
            tiny_checkpoint(base)
        args.model = str(base)
    thinking = Thinking(args.effort, args.analyses, args.analysis_tokens)
    if args.full_random:
        from offline_gptoss import GPT_OSS_20B, harmony_tokenizer

        tokenizer = harmony_tokenizer()
        make = partial(random_packed, GPT_OSS_20B, device(), DTYPES[args.dtype])
        teach(args, thinking, Source(GPT_OSS_20B, tokenizer, make))
    else:
        teach(args, thinking, Source.named(args))


def arguments(
    description: str | None, *, model: str, quantization: str | None, rank: int
) -> argparse.ArgumentParser:
    """What every model's script can be told, with this model's defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default=model, help=f"a directory or a hub id ({model})")
    parser.add_argument("--quantization", choices=QUANTIZATIONS, default=quantization)
    usual = "bfloat16" if torch.cuda.is_available() else "float32"  # which CPUs are faster in
    parser.add_argument("--dtype", choices=DTYPES, default=usual, help="of what isn't packed")
    parser.add_argument("--target", default="all", help="which weights learn: experts@8-15 (all)")
    parser.add_argument("--rank", type=int, default=rank)
    parser.add_argument("--words", type=int, nargs="+", default=[2], help="in a prompt (2)")
    parser.add_argument("--steps", type=int, default=400, help="0: measure only")
    parser.add_argument("--batch", type=int, default=8, help="examples a step")
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--examples", type=int, default=2000, help="to train on")
    parser.add_argument("--test-examples", type=int, default=200)
    parser.add_argument("--checkpointing", action="store_true", help="less memory for more time")
    parser.add_argument("--adapter", type=Path, help="one to begin with")
    parser.add_argument("--other-base", action="store_true", help="take it on any base")
    parser.add_argument("--save-steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/trained"))
    return parser


@dataclass(frozen=True)
class Source:
    """What a model is before it is in memory: its size is known, and how to get it."""

    config: str | PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    load: Callable[[], PreTrainedModel]

    @classmethod
    def named(cls, args: argparse.Namespace) -> "Source":
        """The one the arguments name."""

        def load() -> PreTrainedModel:
            model, _ = dm.load_model(args.model, quantization=args.quantization, dtype=args.dtype)
            return model

        return cls(args.model, load_tokenizer(args.model), load)


class Thinking:
    """What comes before an answer: nothing, or analyses the model samples at some effort."""

    def __init__(self, effort: str = "none", analyses: int = 1, max_tokens: int = 256) -> None:
        """Nothing is sampled yet."""
        self.effort, self.analyses, self.max_tokens = effort, analyses, max_tokens

    def told(self, examples: Examples) -> Examples:
        """The examples at this effort, each as often as there are to be analyses of it."""
        if self.effort == "none":
            return examples
        told = {"reasoning_effort": self.effort}
        return [
            replace(example, chat_template_kwargs=told)
            for example in examples
            for _ in range(self.analyses)
        ]

    def sampler(self, tokenizer: PreTrainedTokenizerBase) -> Sampler | None:
        """What gives examples the analyses of a model; None where there are none."""
        if self.effort == "none":
            return None
        return lambda model, examples: sample_thinking(
            model, tokenizer, examples, max_tokens=self.max_tokens
        )


def teach(args: argparse.Namespace, thinking: Thinking, source: Source) -> None:
    """Measure, train, measure again, and write down the difference."""
    start = time.perf_counter()
    settings = checked_settings(args)
    task = OutputControl(words=tuple(args.words), wordings=AHEAD_WORDINGS)
    train, test = task.draw(args.examples, args.test_examples, args.seed)
    pool = thinking.told(train)
    if args.steps:
        print_plan(args, source, pool[: args.batch])
    model, tokenizer = source.load(), source.tokenizer
    sampler = thinking.sampler(tokenizer)

    def refresh(model: nn.Module, examples: Sequence[dm.Example]) -> Examples:
        """As many others of the pool, each behind a fresh analysis."""
        drawn = torch.randperm(len(pool))[: len(examples)]
        return sampler(model, [pool[i] for i in drawn])  # type: ignore[misc]

    trainer = trainer_of(args, model, tokenizer, pool, refresh if sampler else None)
    write_text(args.out / SETTINGS, json.dumps(settings, indent=2) + "\n")

    def measured(name: str) -> Report:
        """The report of that name, kept in its folder: made once, also by a resumed run."""
        path = args.out / f"{name}.json"
        if not path.is_file():
            asked = thinking.told(test)
            if sampler is not None:
                asked = sampler(trainer.model, asked)
            dm.evaluate(trainer.model, tokenizer, asked).save(path)
        return Report.load(path)

    before = measured("before")
    print(comparison_table({"before": before}))
    if not args.steps:
        return
    if sampler is not None and last_checkpoint(args.out) is None:
        trainer.use_examples(refresh(trainer.model, trainer.train_examples))
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model()
    after = measured("after")
    print(comparison_table({"before": before, "after": after}))
    history = trainer.state.log_history
    seconds = time.perf_counter() - start
    print(save_comparison(args.out, before, after, seconds=seconds, history=history))
    if torch.cuda.is_available():
        print(f"at most {torch.cuda.max_memory_allocated() / 1e9:.2f} GB of GPU memory")


def trainer_of(
    args: argparse.Namespace,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pool: Examples,
    refresh: Sampler | None,
) -> dm.DistributionTrainer:
    """The trainer of these settings, with an adapter to begin with or a new one."""
    target = dm.lora(args.target, rank=args.rank)
    if args.adapter is None:
        print(target_table(target, model))
    else:
        model = dm.load_adapter(model, args.adapter, trainable=True, other_base=args.other_base)
    if refresh is not None:  # as many as are used until they're drawn anew
        pool = pool[: args.refresh_steps * args.batch]
    return dm.DistributionTrainer(
        model=model,
        processing_class=tokenizer,
        args=dm.DistributionConfig(
            output_dir=str(args.out),
            learning_rate=args.rate,
            adam_beta2=0.97,
            warmup_steps=min(20, args.steps // 10),
            max_steps=args.steps,
            per_device_train_batch_size=args.batch,
            gradient_checkpointing=args.checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            refresh_steps=args.refresh_steps if refresh else None,
            save_steps=args.save_steps,
            save_total_limit=1,
            seed=args.seed,
        ),
        peft_config=None if args.adapter else target,
        train_dataset=pool,
        refresh=refresh,
    )


def checked_settings(args: argparse.Namespace) -> dict[str, str]:
    """The settings to be kept beside the results; those of other results are refused."""
    told = {name: str(value) for name, value in vars(args).items() if name not in ("out", "model")}
    told["model"] = "tiny" if vars(args).get("tiny") else args.model
    path = args.out / SETTINGS
    kept = json.loads(path.read_text()) if path.is_file() else {}
    if different := sorted(name for name in kept.keys() & told.keys() if kept[name] != told[name]):
        raise SystemExit(
            f"{args.out} holds a run with another {', '.join(different)}: choose another --out"
        )
    return told


def print_plan(args: argparse.Namespace, source: Source, examples: Examples) -> None:
    """What a step will take, before anything is loaded; without analyses, whose length shows."""
    plan = dm.memory_plan(
        source.config,
        examples,
        dm.lora(args.target, rank=args.rank),
        tokenizer=source.tokenizer,
        quantization=args.quantization,
        dtype=args.dtype,
        checkpointing=args.checkpointing,
    )
    free = free_memory(device())
    print(f"a step will take about\n{plan}\nof the {free / 1e9:.3f} GB that are free")
    if plan.total > free:
        print("That is not enough: try --checkpointing, a smaller --batch, or fewer blocks")


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    main()
