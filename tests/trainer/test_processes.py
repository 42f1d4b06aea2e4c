"""Two processes, started by torchrun or by accelerate, do what one does."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from distmatch.data import Example, WordDistribution
from distmatch.models.lora import lora
from distmatch.trainer import DistributionConfig, DistributionTrainer
from tests.tiny import tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[2]
TEXTS = ["green tea and milk", "the red fox ran over the hill", "a cat"]
KEPT = {"save_steps": 2, "save_strategy": "steps", "optim_args": "momentum=0.9"}
HEAD = {"peft_config": LoraConfig(r=4, target_modules=["q_proj", "lm_head"])}


def examples(n: int = 13, other: Any = 0.2) -> list[Example]:
    pairs = [("red", "blue"), ("cat", "dog"), ("otter", "red fox"), ("tea", "milk")]
    return [
        Example(
            prompt=f"Say {first} or {second}" + " please" * turn,
            target=WordDistribution((first, second), (p, q), other),
        )
        for turn in range(2)
        for first, second in pairs
        for p, q in ((0.6, 0.2), (0.4, 0.4))
    ][:n]


def redrawn(_model: object, before: list[Example]) -> list[Example]:
    """Other targets, by a generator that no two processes have in the same state."""
    p = torch.rand(len(before)).tolist()
    return [
        replace(example, target=WordDistribution(example.target.words, (q, 1 - q)))
        for example, q in zip(before, p, strict=True)
    ]


RUNS: dict[str, dict[str, Any]] = {
    "an uneven last batch": {},
    "gradient accumulation": {"batch": 4, "gradient_accumulation_steps": 2},
    "a process without examples": {"n": 10},
    "a process that never has examples": {"n": 3},
    "dropped": {"dataloader_drop_last": True},
    "a text an example": {"retention_weight": 0.5},
    "one text, and a process without": {"retention_weight": 0.5, "retention_per_step": 1, "n": 10},
    "texts and accumulation": {
        **{"retention_weight": 0.5, "retention_per_step": 3},
        **{"batch": 4, "gradient_accumulation_steps": 2},
    },
    "texts in a forward of their own": {
        **{"retention_weight": 0.5, "retention_per_step": 1, "n": 10},
        **HEAD,
    },
    "preserve": {"other": "preserve"},
    "refresh": {"refresh_steps": 1, "refresh": redrawn},
    "checkpointing": {"gradient_checkpointing": True, "n": 10},
    "evaluation": {"evaluated": True},
    "made by two": {"max_steps": 2, **KEPT},
    "made by one": {"max_steps": 4, **KEPT},
}


def trainer(folder: Path, world: int, **given: Any) -> DistributionTrainer:
    """A run of two epochs by plain descent, eight examples a step unless told otherwise."""
    rows = examples(given.pop("n", 13), given.pop("other", 0.2))
    of_trainer = {name: given.pop(name) for name in ("peft_config", "refresh") if name in given}
    if "retention_weight" in given:
        of_trainer["retention_dataset"] = TEXTS
    if given.pop("evaluated", False):
        of_trainer["eval_dataset"] = {"these": examples(11), "those": examples(1)}
        of_trainer["retention_dataset"] = TEXTS
        given |= {"eval_strategy": "epoch", "per_device_eval_batch_size": 2}
    settings = {
        **{"learning_rate": 0.02, "optim": "sgd", "max_grad_norm": 0.0, "num_train_epochs": 2},
        **{"logging_steps": 1, "save_strategy": "no", "disable_tqdm": True, "use_cpu": True},
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": given.pop("batch", 8) // world,
    }
    return DistributionTrainer(
        model=tiny_model("llama"),
        args=DistributionConfig(output_dir=str(folder), **(settings | given)),
        processing_class=tiny_tokenizer(),
        train_dataset=rows,
        **({"peft_config": lora("all", rank=4)} | of_trainer),
    )


def result(run: DistributionTrainer, resume: bool = False) -> dict[str, Any]:
    """What training changed, and what it said."""
    torch.rand(run.args.process_index)  # so no two draw alike from here on
    run.train(resume_from_checkpoint=resume or None)
    weights = {n: p.detach() for n, p in run.adapted.named_parameters() if p.requires_grad}
    logged = [line for line in run.state.log_history if "train_runtime" not in line]
    return {"weights": weights, "logged": logged}


def work(folder: Path, world: int, names: list[str]) -> None:
    """One of several processes: every run named, and its result kept."""
    rank = os.environ["RANK"]
    for name in names:
        run = trainer(folder / name, world, **RUNS[name])
        calls: list[int] = []
        run.adapted.base_model.model.register_forward_pre_hook(lambda *_, c=calls: c.append(1))
        kept = result(run, resume=name == "made by one")
        torch.save(kept | {"forwards": len(calls)}, folder / f"{name} {rank}.pt")


def started(launcher: list[str], folder: Path, names: list[str]) -> None:
    command = [*launcher, __file__, str(folder), *names]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
ACCELERATE = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"),
    *("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"),
]


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """The folder with what two processes made of each run."""
    folder = tmp_path_factory.mktemp("two")
    trainer(folder / "made by one", 1, **RUNS["made by one"] | {"max_steps": 2}).train()
    started(TORCHRUN, folder, list(RUNS))
    return folder


def same(two: dict[str, Any], one: dict[str, Any], tolerance: float = 1e-6) -> None:
    for name, value in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], value, rtol=0, atol=tolerance)
    assert len(two["logged"]) == len(one["logged"])
    for line, expected in zip(two["logged"], one["logged"], strict=True):
        assert line == pytest.approx(expected, rel=1e-5, abs=tolerance, nan_ok=True)


def of(folder: Path, name: str, rank: int) -> dict[str, Any]:
    return torch.load(folder / f"{name} {rank}.pt")


@pytest.mark.parametrize("name", [name for name in RUNS if not name.startswith("made")])
def test_two_processes_do_what_one_does(name, of_two, tmp_path):
    run = trainer(tmp_path, 1, **RUNS[name])
    start = {n: p.detach().clone() for n, p in run.adapted.named_parameters() if p.requires_grad}
    one = result(run)
    assert any((one["weights"][n] - before).abs().max() > 1e-3 for n, before in start.items())
    for rank in (0, 1):
        same(of(of_two, name, rank), one)


def test_each_process_does_its_share_of_an_evaluation(of_two, tmp_path):
    run = trainer(tmp_path, 1, **RUNS["evaluation"])
    calls = []
    run.adapted.base_model.model.register_forward_pre_hook(lambda *_: calls.append(1))
    result(run)
    shares = [of(of_two, "evaluation", rank)["forwards"] for rank in (0, 1)]
    assert max(shares) < 0.75 * len(calls), (shares, len(calls))


def test_what_two_began_one_ends(of_two):
    settings = RUNS["made by two"] | {"max_steps": 4}
    resumed = result(trainer(of_two / "made by two", 1, **settings), resume=True)
    straight = result(trainer(of_two / "straight", 1, **settings))
    same(resumed, straight)
    same(of(of_two, "made by one", 0), straight)
    same(of(of_two, "made by one", 1), straight)


def test_accelerate_starts_the_same(of_two, tmp_path):
    name = "an uneven last batch"
    started(ACCELERATE, tmp_path, [name])
    same(of(tmp_path, name, 0), of(of_two, name, 0), tolerance=0)


if __name__ == "__main__":
    work(Path(sys.argv[1]), 2, sys.argv[2:])
