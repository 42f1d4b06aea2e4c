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

--recipe broad is that of broad_control.toml, but for --rank: it asks for control in thousands of
ways, plain ones first, and holds the model near itself on chats of its own (--own-chats) and its
answers to what only looks like a request (--negatives) and to short questions (--short-questions);
with an --effort, behind its thoughts, at the template's own effort. Answering at once it is also
measured in ways that were never trained on (the suite carry_over).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import GptOssConfig, PreTrainedModel, PreTrainedTokenizerBase

import distmatch as dm
from distmatch.data import (
    AHEAD_WORDINGS,
    BroadControl,
    OutputControl,
    negatives,
    read_texts,
    short_questions,
)
from distmatch.errors import DistmatchError
from distmatch.evals import CarryOver, LocalModel, LocalSource, OwnExamples, Suite, measure_all
from distmatch.models import DTYPES, QUANTIZATIONS, ModelChoice, free_memory, random_packed
from distmatch.runs import Run, perform
from distmatch.thinking import sample_thinking

Examples = list[dm.Example]

RECIPES: dict[str, dict[str, Any]] = {
    "ahead": {"steps": 400, "rate": 1e-3, "examples": 2000, "retention_tokens": 64}
    | {"retention_weight": 1.0, "retention_per_step": 2},
    "broad": {"steps": 600, "rate": 5e-4, "retention_tokens": 400}
    | {"retention_weight": 8.0, "retention_per_step": 4},
}
"""What is used where nothing else is said."""
WARMUP_STEPS = {"ahead": 20, "broad": 10}


def main() -> None:
    """Load the packed model, and teach it."""
    parser = arguments(__doc__, model="openai/gpt-oss-20b", quantization="mxfp4", rank=8)
    parser.add_argument("--effort", choices=("none", "low", "medium", "high"), default="none")
    parser.add_argument("--analyses", type=int, default=1, help="sampled for each prompt")
    parser.add_argument("--analysis-tokens", type=int, default=256, help="where one is cut off")
    parser.add_argument("--refresh-steps", type=int, default=50, help="until they're sampled anew")
    random = parser.add_mutually_exclusive_group()
    random.add_argument("--tiny", action="store_true", help="a small random gpt-oss, kept in --out")
    random.add_argument(
        "--full-random", action="store_true", help="gpt-oss-20b's size of random weights"
    )
    args = parsed(parser)
    if args.full_random and args.quantization != "mxfp4":
        parser.error("--full-random makes packed experts alone: leave out --quantization")
    if args.tiny:
        from offline_gptoss import tiny_checkpoint

        base = (args.adapter or args.out) / "base"
        if not (base / "tokenizer.json").is_file():
            tiny_checkpoint(base)
        args.model = str(base)
    model, config = chosen_model(args), None
    if args.full_random:
        from offline_gptoss import GPT_OSS_20B

        config = GPT_OSS_20B
        model = RandomModel(name="random", quantization="mxfp4", dtype=args.dtype, config=config)
    thinking = None
    if args.effort != "none":
        thinking = Thinking(args.effort, args.analyses, args.analysis_tokens, args.refresh_steps)
    teach(args, model, thinking, config)


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
    parser.add_argument("--recipe", choices=("ahead", "broad"), default="ahead", help="see above")
    parser.add_argument("--words", type=int, nargs="+", help="in a prompt (2; broad: 2 to 5)")
    parser.add_argument("--steps", type=int, help="0: measure only (400; broad: 600)")
    parser.add_argument("--batch", type=int, default=8, help="examples a step")
    parser.add_argument("--rate", type=float, help="the highest learning rate (1e-3; broad: 5e-4)")
    parser.add_argument("--examples", type=int, help="to train on (2000; broad: each once)")
    parser.add_argument("--test-examples", type=int, default=200)
    parser.add_argument("--retention", type=Path, help="texts to stay near the base on (JSONL)")
    parser.add_argument("--own-chats", type=int, default=64, help="of the recipe broad (64)")
    parser.add_argument("--negatives", type=int, default=96, help="of the recipe broad (96)")
    parser.add_argument(
        "--short-questions", type=int, default=160, help="of the recipe broad (160)"
    )
    parser.add_argument("--retention-weight", type=float, help="of their KL (1; broad: 8)")
    parser.add_argument("--retention-per-step", type=int, help="texts a step (2; broad: 4)")
    parser.add_argument("--retention-tokens", type=int, help="where one is cut (64; broad: 400)")
    parser.add_argument("--checkpointing", action="store_true", help="less memory for more time")
    parser.add_argument("--adapter", type=Path, help="one to begin with")
    parser.add_argument("--other-base", action="store_true", help="take it on any base")
    parser.add_argument("--save-steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/trained"))
    return parser


def parsed(
    parser: argparse.ArgumentParser, told: Sequence[str] | None = None
) -> argparse.Namespace:
    """What it was told, and of the rest what the recipe has."""
    args = parser.parse_args(told)
    for name, value in RECIPES[args.recipe].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.examples is None:  # each once, from the plain ones to the broad ones
        args.examples = max(args.steps * args.batch, 1)
    return args


def chosen_model(args: argparse.Namespace) -> ModelChoice:
    """The model the arguments name."""
    return ModelChoice(name=args.model, quantization=args.quantization, dtype=args.dtype)


@dataclass(frozen=True, kw_only=True)
class RandomModel(ModelChoice):
    """A gpt-oss of random weights, packed, made where it is to be."""

    config: GptOssConfig

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """A model and gpt-oss's tokenizer."""
        return random_packed(self.config, device(), DTYPES[self.dtype]), self.load_tokenizer()

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """gpt-oss's, from a package."""
        from offline_gptoss import harmony_tokenizer

        return harmony_tokenizer()

    def record(self) -> dict[str, Any]:
        """Size and dtype, since the seed is always the same."""
        return {"model": f"random {self.config.to_json_string()}", "dtype": self.dtype}


@dataclass(frozen=True, kw_only=True)
class BehindAnalyses(OwnExamples):
    """Examples, each asked behind an analysis that the model samples."""

    draws_text: ClassVar[bool] = True
    max_tokens: int = 256
    """Where an analysis is cut off."""

    def record(self) -> dict[str, Any]:
        """See `OwnExamples`."""
        return {**super().record(), "max_tokens": self.max_tokens}

    def items(self, subject: LocalModel) -> Any:
        """The answers behind the analyses, which the subject's seed decides."""
        torch.manual_seed(subject.seed)
        asked = sample_thinking(
            subject.model, subject.tokenizer, self.examples, max_tokens=self.max_tokens
        )
        return subject.answers(asked, "evaluating")


@dataclass(frozen=True)
class Thinking:
    """Analyses that the model samples before its answers."""

    effort: str
    analyses: int
    """Of each prompt."""
    max_tokens: int
    refresh_steps: int

    def told(self, examples: Examples) -> Examples:
        """The examples at this effort, each as often as there are to be analyses of it."""
        told = {"reasoning_effort": self.effort}
        return [
            replace(example, chat_template_kwargs=told)
            for example in examples
            for _ in range(self.analyses)
        ]

    def suite(self, test: Examples) -> OwnExamples:
        """Test examples asked behind analyses."""
        return BehindAnalyses(rows=self.told(test), max_tokens=self.max_tokens)

    def trained(
        self, train: Examples, tokenizer: PreTrainedTokenizerBase, batch: int
    ) -> dict[str, Any]:
        """Of a `Run` what is trained: examples of a pool, drawn anew, each behind an analysis."""
        pool = self.told(train)
        num_drawn = min(len(pool), self.refresh_steps * batch)  # as many as are used until then

        def refresh(model: nn.Module, examples: Sequence[dm.Example]) -> Examples:
            drawn = torch.randperm(len(pool))[: len(examples)]
            return sample_thinking(
                model, tokenizer, [pool[i] for i in drawn], max_tokens=self.max_tokens
            )

        return {"train": lambda model: refresh(model, pool[:num_drawn]), "refresh": refresh}


def teach(
    args: argparse.Namespace,
    model: ModelChoice,
    thinking: Thinking | None = None,
    config: GptOssConfig | None = None,
) -> None:
    """Measure, train, measure again, and write down the difference."""
    train, test = task(args, thinking).draw(args.examples, args.test_examples, args.seed)
    suite = thinking.suite(test) if thinking else OwnExamples(rows=test)
    try:
        if not args.steps:
            measure_only(args, model, [suite, *carried_over(args, thinking)])
            return
        longest = sorted(train, key=lambda row: len(str(row.prompt)), reverse=True)[: args.batch]
        print_plan(args, config or args.model, model.load_tokenizer(), longest)
        trained: dict[str, Any] = {"train": train}
        if thinking:
            trained = thinking.trained(train, model.load_tokenizer(), args.batch)
        run = Run(
            model=model,
            config=settings(args, thinking),
            suites=[suite, *carried_over(args, thinking)],
            lora=None if args.adapter else target(args),
            adapter=args.adapter,
            other_base=args.other_base,
            retention=texts(args, thinking),
            seed=args.seed,
            **trained,
        )
        perform(run, resume=run.is_begun)
    except DistmatchError as error:
        raise SystemExit(str(error)) from error
    if torch.cuda.is_available():
        print(f"at most {torch.cuda.max_memory_allocated() / 1e9:.2f} GB of GPU memory")


def measure_only(args: argparse.Namespace, model: ModelChoice, suites: Sequence[Suite]) -> None:
    """Measure the model, with the adapter if there is one, and keep the report."""
    source = LocalSource(
        choice=model, adapter=args.adapter, other_base=args.other_base, seed=args.seed
    )
    for measured in measure_all(source, suites, args.out / "before"):
        print(measured.report)


def task(args: argparse.Namespace, thinking: Thinking | None) -> OutputControl | BroadControl:
    """What is learned; broad, plain requests first, unless they are drawn anew on the way."""
    told = {"words": tuple(args.words)} if args.words else {}
    if args.recipe == "broad":
        return BroadControl(narrow_first=thinking is None, **told)
    return OutputControl(wordings=AHEAD_WORDINGS, **{"words": (2,), **told})


def carried_over(args: argparse.Namespace, thinking: Thinking | None) -> list[CarryOver]:
    """Asked besides, at once."""
    is_asked = args.recipe == "broad" and thinking is None
    return [CarryOver(per_group=max(args.test_examples // 8, 1))] if is_asked else []


def texts(args: argparse.Namespace, thinking: Thinking | None) -> Any:
    """On which to stay near the base."""
    if args.retention:
        return read_texts(args.retention)
    drawn = ((negatives, args.negatives), (short_questions, args.short_questions))
    asked = [question for draw, n in drawn if n for question in draw(n, args.seed)]
    if args.recipe != "broad" or not args.retention_weight or not (args.own_chats or asked):
        return ()
    return dm.OwnChats(
        n=args.own_chats,
        questions=asked,
        thinks=thinking is not None,
        answer_tokens=min(32, args.retention_tokens),
        thought_tokens=min(120, args.retention_tokens),  # which leaves room for header and answer
        seed=args.seed,
        batch_size=args.batch,
    )


def target(args: argparse.Namespace) -> Any:
    """Which weights learn."""
    return dm.lora(args.target, rank=args.rank)


def settings(args: argparse.Namespace, thinking: Thinking | None) -> dm.DistributionConfig:
    """How they learn."""
    has_texts = bool(texts(args, thinking))
    in_order = args.recipe == "broad" and thinking is None
    return dm.DistributionConfig(
        output_dir=str(args.out),
        learning_rate=args.rate,
        adam_beta2=0.97,
        warmup_steps=min(WARMUP_STEPS[args.recipe], args.steps // 10),
        max_steps=args.steps,
        train_sampling_strategy="sequential" if in_order else "random",
        per_device_train_batch_size=args.batch,
        activation_checkpointing=args.checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        refresh_steps=thinking.refresh_steps if thinking else None,
        retention_weight=args.retention_weight if has_texts else 0.0,
        retention_per_step=args.retention_per_step if has_texts else None,
        retention_tokens=args.retention_tokens,
        save_steps=args.save_steps,
        save_total_limit=1,
        seed=args.seed,
    )


def print_plan(
    args: argparse.Namespace,
    config: str | GptOssConfig,
    tokenizer: PreTrainedTokenizerBase,
    examples: Examples,
) -> None:
    """What a step will take, before anything is loaded; without analyses, whose length shows."""
    plan = dm.memory_plan(
        config,
        examples,
        target(args),
        tokenizer=tokenizer,
        quantization=args.quantization,
        dtype=args.dtype,
        checkpointing=args.checkpointing,
        retention=(args.retention_per_step if texts(args, None) else 0, args.retention_tokens),
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
