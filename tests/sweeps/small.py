"""A sweep of a tiny model that takes a second, what its folder holds, and what it may say."""

import json

from distmatch.data import Example, WordDistribution
from distmatch.measuring import Interval
from distmatch.sweeps import Grid
from distmatch.sweeps.findings import Finding
from distmatch.sweeps.layer_sweep import carry_out
from distmatch.sweeps.plan import Plan
from distmatch.sweeps.probe import LOSSES, ProbeScore
from distmatch.trainer import DistributionConfig
from tests.tiny import tiny_model, tiny_tokenizer

PAIRS = [("red", "blue"), ("cat", "dog"), ("otter", "red fox")]
GRID = Grid(sites=("attention", "mlp"), blocks=("1", "3"), rank=2)
NAMES = [f"{cell}-rank2-lr0.01-seed0" for cell in ("all@0-3", "attention@1", "mlp@1")]
NAMES += [f"{cell}-rank2-lr0.01-seed0" for cell in ("attention@3", "mlp@3")]
ONE = Grid(sites=("mlp",), blocks=("3",), rank=2)
ONE_NAMES = ["all@0-3-rank2-lr0.01-seed0", "mlp@3-rank2-lr0.01-seed0"]
SCORES = [
    ProbeScore(loss, block, kind, name, 10.0**block, 100.0 + block)
    for loss in LOSSES
    for block in range(4)
    for kind, name in (("attention", "q"), ("attention", "o"), ("mlp", "up"))
]
NAN = float("nan")
TAKES_TIME = {"train_seconds", "seconds", "peak_memory_gb"}


def finding(site, blocks, control, rank=16, parameters=1000, **given):
    """What cells may say, with one seed and transfer to "far"."""
    about = {"site": site, "blocks": blocks, "rank": rank, "parameters": parameters}
    about |= {"learning_rate": 1e-3, "chosen": True, "tuning": NAN}
    gains = {"copying": Interval(0.5, 0.25, 0.75), "control": Interval(control, NAN, NAN)}
    price = {"slope": 0.5, "tvd": 0.2, "kl": 0.01, "train_seconds": 30.0, "flops": 2e15}
    rest = price | {"gains": gains, "cells": ("one",), "transfer": {"far": 0.1}}
    return Finding(**(about | rest | given))


def examples(count=8, say="Say"):
    rows = []
    for i in range(count):
        p = (i + 1) / (count + 1)
        first, second = PAIRS[i % len(PAIRS)]
        asked, turned = (f"{say} {first} {x:.2f} {second} {1 - x:.2f}" for x in (p, 1 - p))
        turn = ({"role": "user", "content": turned},)
        target = WordDistribution((first, second), (p, 1 - p))
        prompt = ({"role": "user", "content": asked},)
        rows.append(Example(prompt=prompt, target=target, rotations=(turn,)))
    return rows


def settings(folder, **given):
    plain = {"max_steps": 3, "per_device_train_batch_size": 4, "disable_tqdm": True}
    plain |= {"use_cpu": True, "learning_rate": 1e-2, "logging_steps": 1}
    return DistributionConfig(output_dir=str(folder), **(plain | given))


def small_sweep(
    folder, model=None, grid=GRID, tests=None, train=None, tuning=None, suites=(), **given
):
    """What `sweep` returns, on a few examples and texts."""
    model = tiny_model("llama") if model is None else model
    plan = Plan.of(
        model,
        train_dataset=examples() if train is None else train,
        eval_datasets=tests or {"main": examples(4), "far": examples(3, say="Write")},
        tuning_dataset=tuning,
        args=settings(folder, **given),
        grid=grid,
        num_texts=3,
        suites=suites,
    )
    return carry_out(plan, model, tiny_tokenizer())


def rows(folder):
    lines = (folder / "results.jsonl").read_text().splitlines()
    return {row["cell"]: row for row in map(json.loads, lines)}


def measured(folder):
    """All columns but those that differ between two runs."""
    return {
        name: {key: value for key, value in row.items() if key not in TAKES_TIME}
        for name, row in rows(folder).items()
    }


def adapters(folder):
    return {
        path.parent.name: path.read_bytes()
        for path in (folder / "cells").glob("*/adapter_model.safetensors")
    }


def claims(folder):
    return list((folder / "claims").glob("*.json"))


def remove_line(folder, name):
    lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    (folder / "results.jsonl").write_text("".join(x for x in lines if f'"{name}"' not in x))


def times(folder):
    """When what a sweep keeps was written."""
    return {
        path: path.stat().st_mtime_ns
        for name in ("cells", "base")
        for path in (folder / name).rglob("*")
    } | {folder / "probe.json": (folder / "probe.json").stat().st_mtime_ns}
