"""Broad control of a model of half a billion parameters: which recipe, and what it reaches.

Pilots of at most 200 steps choose a recipe by branches and words that are neither trained on nor
measured with later. Each run of the ledger is then measured once, by the suites of the table. What
is there is not made again, and a run that was stopped goes on: start the same command once more, or
name single runs; several commands may each do some.

    python benchmarks/models.py qwen2.5-coder-0.5b
    python benchmarks/broad_recipe.py --pilots --json benchmarks/results/broad_pilots.jsonl
    python benchmarks/broad_recipe.py --json benchmarks/results/broad_recipe.jsonl
"""

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from machine import device_and_versions, keep_line
from models import PATHS

import distmatch as dm
from distmatch.data import (
    AHEAD_WORDINGS,
    TASKS,
    BroadControl,
    OutputControl,
    mixture,
    negatives,
    read_texts,
    short_questions,
    shuffled,
    split_words,
    word_pool,
    words_of_tokens,
    write_texts,
)
from distmatch.data.examples import Prompt
from distmatch.evals import (
    CarryOver,
    Deviation,
    Given,
    Knowledge,
    LocalSource,
    NotGiven,
    Numbers,
    Ordinary,
    OwnExamples,
    Sequential,
    Subject,
    Suite,
    Suppression,
    Thinking,
    measure_all,
)
from distmatch.evals.items import Items
from distmatch.models import ModelChoice
from distmatch.runs import Run, perform

OUT = Path("runs/broad_recipe")
ADAPTER_FILE = "adapter_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one run is told."""

    model: str = "0.5B"
    data: str = "broad"
    """Or "narrow": the five wordings of the quickstart; "given": of the suite `given`; "others":
    every other task that a suite measures."""
    shuffled: bool = False
    steps: int = 200
    batch: int = 8
    learning_rate: float = 5e-4
    rank: int = 16
    target: str = "all"
    weight: float = 2.0
    """Of retention; 0: none."""
    per_step: int = 2
    own_chats: int = 32
    negatives: int = 64
    short_questions: int = 0
    answer_tokens: int = 96
    """Of its answers in texts of retention."""
    narrow_first: bool = False
    min_tokens: int = 1
    """Of each word; above 1 rare words are drawn, too."""
    seed: int = 0

    @property
    def name(self) -> str:
        """What differs from the defaults."""
        default = asdict(Recipe())
        told = {key: value for key, value in asdict(self).items() if value != default[key]}
        return " ".join(f"{key}={value}" for key, value in told.items()) or "defaults"


WIDE: dict[str, Any] = {
    **{"own_chats": 64, "negatives": 96, "short_questions": 160},
    **{"answer_tokens": 32, "per_step": 4},
}
"""Retention on more, and shorter, texts, most of them answers to short questions."""
WIDER: dict[str, Any] = WIDE | {"negatives": 400, "short_questions": 400, "per_step": 2}
"""The same on more texts still, fewer of them a step."""
PILOTS = (
    Recipe(),
    Recipe(learning_rate=1e-3),
    Recipe(narrow_first=True),
    Recipe(narrow_first=True, learning_rate=1e-3, **WIDE),
    Recipe(narrow_first=True, learning_rate=2.5e-4, **WIDE),
    Recipe(narrow_first=True, min_tokens=2, **WIDE),
)
PILOT_SEED = 1
"""Of the pilots' data: it holds out other words than the table's."""
RECIPE = Recipe(steps=300)
LONGER = Recipe(steps=600, narrow_first=True, **WIDE)
LONGEST = Recipe(steps=1200, narrow_first=True, **WIDER)
LEDGER = {
    "recipe": RECIPE,
    "longer recipe": LONGER,
    "longest recipe": LONGEST,
    "narrow": Recipe(data="narrow", weight=0.0),
    "no retention": replace(LONGER, weight=0.0, steps=200),
    **{f"weight {w}": replace(LONGER, weight=w, steps=200) for w in (2.0, 0.5, 8.0)},
    "weight 2.0, seed 1": replace(LONGER, seed=1, steps=200),
    "shuffled": replace(LONGER, shuffled=True, steps=200),
    "others": replace(LONGER, data="others", steps=200),
    "given alone": replace(LONGER, data="given", steps=200),
    "135M": replace(LONGER, model="135M", learning_rate=1e-3, steps=400),
    "1.5B": replace(LONGER, model="1.5B", steps=100),
}
BASES = {"base": "0.5B", "base, 135M": "135M", "base, 1.5B": "1.5B"}
TABLE: tuple[Suite, ...] = (
    CarryOver(per_group=12),
    Ordinary(base_answers=48),
    Knowledge(),
    Given(per_group=4),
    Sequential(per_kind=6),
    Numbers(per_kind=6),
    Suppression(),
)
FEWER: tuple[Suite, ...] = (
    CarryOver(per_group=6),
    Ordinary(questions=60, per_template=3, base_answers=16, written=0),
    Knowledge(),
    Given(per_group=2),
)
"""Half of what the others are asked, or less, but for `knowledge`."""
FURTHER: tuple[Suite, ...] = (
    Deviation(),
    Thinking(questions=20, thoughts=4),
    NotGiven(prompts=8, most_opened=8),
)
"""Asked of the runs that hypotheses name, and of their base."""
ASKED_FEWER = (
    *("weight 2.0", "weight 2.0, seed 1", "weight 0.5", "weight 8.0", "shuffled"),
    *("1.5B", "base, 1.5B"),
)
ASKED_FURTHER = {"base": FURTHER, "weight 2.0": FURTHER, "no retention": FURTHER[:1]}


@dataclass(frozen=True, kw_only=True)
class NearBase(Suite):
    """How far from the base on chats and negatives of the kinds, but not the rows, trained on."""

    name: ClassVar[str] = "near_base"
    question: ClassVar[str] = "Does it stay near its base on texts like those of retention?"
    metrics = tuple(metric for metric in Ordinary.metrics if metric.name in ("kl", "slot_tvd"))
    needs = Ordinary.needs
    texts: tuple[Prompt, ...] = ()

    def items(self, subject: Subject) -> Items:
        """The drift of each chat, and at the beginning of its answer."""
        slots = [chat[:-1] for chat in self.texts]
        rows = subject.drift(self.texts, slots, self.name)
        groups = ["whole"] * len(self.texts) + ["answer's beginning"] * len(slots)
        return Items(
            metadata=tuple({"group": g, "number": n} for n, g in enumerate(groups)),
            ratios={
                m.name: tuple(np.array([row.get(m.name, (0, 0)) for row in rows], dtype=float).T)
                for m in self.metrics
            },
            prompts=tuple(str(text) for text in (*self.texts, *slots)),
        )


def main() -> None:
    """Do what isn't done yet, a run at a time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="runs by name or number; default: all")
    parser.add_argument("--pilots", action="store_true", help="those that choose the recipe")
    known = [suite.name for suite in (*TABLE, *FURTHER)]
    parser.add_argument("--suites", nargs="+", choices=known, help="of these; default: all")
    parser.add_argument("--json", type=Path, help="where lines of results go")
    parser.add_argument("--out", type=Path, default=OUT, help=f"default: {OUT}")
    args = parser.parse_args()
    bases = {name: Recipe(model=model) for name, model in BASES.items()}
    runs = {r.name: r for r in PILOTS} if args.pilots else bases | LEDGER
    for name in args.names or runs:
        name = list(runs)[int(name)] if name.isdigit() else name
        for line in done(name, runs[name], args.out, args.suites, is_pilot=args.pilots):
            print(json.dumps(line), flush=True)
            if args.json:
                keep_line(args.json, line, by=("run", "suite"))


def done(
    name: str, recipe: Recipe, out: Path, asked: Sequence[str] | None, *, is_pilot: bool
) -> list[dict]:
    """The lines of a run's results, one a suite; trained and measured unless it is there."""
    model, is_base = choice(recipe.model), name in BASES
    folder = out / ("pilots" if is_pilot else "ledger") / name.replace(" ", "_")
    if not is_base:
        train(recipe, model, folder, out, is_pilot=is_pilot)
    source = LocalSource(
        choice=model,
        adapter=None if is_base else folder,
        precision="bfloat16" if is_pilot or recipe.model == "1.5B" else None,
        batch_size=8 if recipe.model == "1.5B" else 32,
    )
    suites = pilot_suites(recipe, model, out) if is_pilot else table(name)
    suites = tuple(one for one in suites if asked is None or one.name in asked)
    lines = []
    for kept in measure_all(source, suites, folder / "reports"):
        groups = kept.report.groups().items()
        lines.append(
            {
                "run": name,
                "suite": kept.suite.name,
                "asked": kept.suite.record(),
                "settings": None if is_base else asdict(recipe),
                "model": model.record(),
                "adapter_sha256": None if is_base else _sha256(folder / ADAPTER_FILE),
                "metrics": kept.report.to_json()["metrics"],
                "groups": {str(group): part.to_json()["metrics"] for group, part in groups},
                "command": shlex.join(["python", *sys.argv]),
                **device_and_versions(torch.device("cpu")),
            }
        )
    return lines


def table(name: str) -> tuple[Suite, ...]:
    """What a run of the ledger is measured by."""
    suites = FEWER if name in ASKED_FEWER else TABLE
    return (*suites, *ASKED_FURTHER.get(name, ()))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def choice(model: str) -> ModelChoice:
    """A model by its size; on a CPU, in bf16, eager attention is sooner done than torch's fused."""
    return ModelChoice(name=PATHS[model], attention="eager")


def train(recipe: Recipe, model: ModelChoice, folder: Path, out: Path, *, is_pilot: bool) -> None:
    """Leave the run's adapter in its folder."""
    texts: Sequence[Prompt] = ()
    if recipe.weight:
        texts = chats(recipe, model, out)
    run = Run(
        model=model,
        train=rows(recipe, is_pilot=is_pilot),
        lora=dm.lora(recipe.target, rank=recipe.rank),
        retention=texts,
        config=dm.DistributionConfig(
            output_dir=str(folder),
            learning_rate=recipe.learning_rate,
            adam_beta2=0.97,
            warmup_steps=10,
            max_steps=recipe.steps,
            per_device_train_batch_size=recipe.batch,
            train_sampling_strategy="sequential" if recipe.narrow_first else "random",
            retention_weight=recipe.weight,
            retention_per_step=recipe.per_step if texts else None,
            retention_tokens=320,
            save_steps=20,
            save_total_limit=1,
            logging_steps=10,
            seed=recipe.seed,
            bf16=True,
        ),
    )
    perform(run, resume=run.is_begun)


def rows(recipe: Recipe, *, is_pilot: bool) -> list[dm.Example]:
    """What a run is trained on."""
    n, seed = recipe.steps * recipe.batch, PILOT_SEED if is_pilot else recipe.seed
    pool = words(recipe, is_pilot=is_pilot)
    if recipe.data == "others":
        tasks = [TASKS[name]() for name in ("numbers", "sequence", "suppression", "deviation")]
        drawn = mixture(tasks, n=n, n_test=0, seed=seed)[0]
    else:
        task = {
            "broad": BroadControl(pool=pool, narrow_first=recipe.narrow_first),
            "narrow": OutputControl(words=(2,), wordings=AHEAD_WORDINGS, pool=pool),
            "given": OutputControl(words=(2, 3, 4, 5), phrasings=tuple(dm.data.PHRASINGS)),
        }[recipe.data]
        drawn = task.draw(n, 0, seed)[0]
    return shuffled(drawn, seed) if recipe.shuffled else drawn


def words(recipe: Recipe, *, is_pilot: bool) -> Sequence[str]:
    """What rows are drawn from: none of the words that suites of the table hold out.

    Seed 0 holds out the same; of others, and of pilots, they are taken away.
    """
    pool = word_pool()
    if recipe.min_tokens > 1:
        tokenizer = choice(recipe.model).load_tokenizer()
        pool = words_of_tokens((*pool, *word_pool("rare")), tokenizer, recipe.min_tokens)
    return pilot_side(pool) if is_pilot or recipe.seed else pool


def pilot_side(pool: Sequence[str]) -> list[str]:
    """Words that no suite of the table holds out."""
    return split_words(pool, seed=0)[0]


def chats(
    recipe: Recipe, model: ModelChoice, out: Path, *, is_tuning: bool = False
) -> list[Prompt]:
    """The base's answers to users and to negatives, written once for all runs.

    The users' side is the embedded model's, which writes it sooner and shorter. Answers are
    written in bfloat16.
    """
    if is_tuning:
        told = Recipe(own_chats=12, negatives=24, short_questions=recipe.short_questions and 24)
        recipe = replace(told, model=recipe.model)
    seed = int(is_tuning)
    drawn = (recipe.own_chats, recipe.negatives, recipe.short_questions, recipe.answer_tokens)
    path = out / f"chats-{recipe.model}-{'-'.join(map(str, drawn))}-{seed}.jsonl"
    if not path.is_file():
        small = ModelChoice(name="smollm2-135m").load()
        written = dm.OwnChats(n=recipe.own_chats, user_tokens=60, answer_tokens=1, seed=seed)
        questions = [*(chat[:-1] for chat in written(*small)), *negatives(recipe.negatives, seed)]
        if recipe.short_questions:
            questions += short_questions(recipe.short_questions, seed)
        answers = dm.OwnChats(
            n=0,
            questions=questions,
            answer_tokens=recipe.answer_tokens,
            seed=seed,
            batch_size=len(questions),
        )
        write_texts(path, answers(*replace(model, dtype="bfloat16").load()))
    return read_texts(path)


def pilot_suites(recipe: Recipe, model: ModelChoice, out: Path) -> tuple[Suite, ...]:
    """What pilots are judged by."""
    texts = chats(recipe, model, out, is_tuning=True)
    tuning = [
        replace(row, metadata={**row.metadata, "group": name})
        for name in ("common", "rare")
        for row in BroadControl(test_branches="tuning", pool=pilot_side(word_pool(name))).draw(
            1, 120, PILOT_SEED
        )[1]
    ]
    return (OwnExamples(rows=tuning), NearBase(texts=tuple(texts)))


if __name__ == "__main__":
    main()
