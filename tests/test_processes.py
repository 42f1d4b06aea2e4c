"""Two processes, started by torchrun or by accelerate, do what one does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from distmatch.cli import main
from tests import processes
from tests.cli.small import run_file
from tests.processes import RUNS, adapted, losses, result, trainer
from tests.tiny import tiny_model, tiny_tokenizer

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
ACCELERATE = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"),
    *("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"),
]
MEASURED = {
    "data": {"task": "output_control", "n": 14, "n_test": 6, "words": 2},
    "measure": {"suites": ["given", "ordinary", "deviation", "suppression"]},
    "suite.given": {"per_group": 1},
    "suite.ordinary": {"per_template": 1},
    "suite.deviation": {"passages": 1, "patterns": 1, "per_text": 2, "alone": 1},
}
ADAPTER = "adapter_model.safetensors"


class Made(NamedTuple):
    """What two processes made, and a run file of theirs that one process is to carry out."""

    folder: Path
    one: Path
    two: Path
    told: str


def started(launcher: list[str], folder: Path, *names: object) -> str:
    """What was said while processes did what is named."""
    command = [*launcher, processes.__file__, str(folder), *map(str, names)]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    """All of it by one start of two processes."""
    folder = tmp_path_factory.mktemp("two")
    saved = tiny_model("llama", num_hidden_layers=2, max_position_embeddings=1024)
    saved.save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    one, two = (
        run_file(
            folder / name,
            folder / "model",
            **MEASURED,
            train={"per_device_train_batch_size": size, "optim": "sgd", "learning_rate": 0.02},
        )
        for name, size in (("one", 4), ("two", 2))
    )
    trainer(folder / "made by one", 1, **RUNS["made by one"] | {"max_steps": 2}).train()
    told = started([*TORCHRUN, "2"], folder, *RUNS, "loop", two)
    return Made(folder, one, two, told)


def same(two: dict[str, Any], one: dict[str, Any], tolerance: float = 1e-6) -> None:
    for name, value in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], value, rtol=0, atol=tolerance)
    assert len(two["logged"]) == len(one["logged"])
    for line, expected in zip(two["logged"], one["logged"], strict=True):
        # One example's slope is of log-probabilities near -10, whose float32 ends at 1e-6
        slopes = {name for name in expected if name.endswith("those_slope")}
        for names, least in ((slopes, 5 * tolerance), (expected.keys() - slopes, tolerance)):
            found, wanted = ({name: one[name] for name in names} for one in (line, expected))
            assert found == pytest.approx(wanted, rel=1e-5, abs=least, nan_ok=True)
        assert line.keys() == expected.keys()


def of(folder: Path, name: str, rank: int) -> dict[str, Any]:
    return torch.load(folder / f"{name} {rank}.pt")


@pytest.mark.parametrize("name", [name for name in RUNS if not name.startswith("made")])
def test_two_processes_do_what_one_does(name, made, tmp_path):
    run = trainer(tmp_path, 1, **RUNS[name])
    start = {n: p.detach().clone() for n, p in run.adapted.named_parameters() if p.requires_grad}
    one = result(run)
    assert any((one["weights"][n] - before).abs().max() > 1e-3 for n, before in start.items())
    for rank in (0, 1):
        same(of(made.folder, name, rank), one)


def test_each_process_does_its_share_of_an_evaluation(made, tmp_path):
    run = trainer(tmp_path, 1, **RUNS["evaluation"])
    calls = []
    run.adapted.base_model.model.register_forward_pre_hook(lambda *_: calls.append(1))
    result(run)
    shares = [of(made.folder, "evaluation", rank)["forwards"] for rank in (0, 1)]
    assert max(shares) < 0.75 * len(calls), (shares, len(calls))


def test_what_two_began_one_ends(made):
    settings = RUNS["made by two"] | {"max_steps": 4}
    resumed = result(trainer(made.folder / "made by two", 1, **settings), resume=True)
    straight = result(trainer(made.folder / "straight", 1, **settings))
    same(resumed, straight)
    same(of(made.folder, "made by one", 0), straight)
    same(of(made.folder, "made by one", 1), straight)


def test_accelerate_starts_the_same(made, tmp_path):
    name = "an uneven last batch"
    started(ACCELERATE, tmp_path, name)
    same(of(tmp_path, name, 0), of(made.folder, name, 0), tolerance=0)


def test_a_command_leaves_what_one_process_does_and_one_of_them_speaks(made):
    assert made.told.count("before training, given is measured") == 1
    assert made.told.count("metrics.json") == 1
    assert main(["train", str(made.one)]) == 0
    one, two = made.one.parent / "run", made.two.parent / "run"
    same = {path.relative_to(one) for path in one.rglob("*") if "checkpoint" not in str(path)}
    assert same == {p.relative_to(two) for p in two.rglob("*") if "checkpoint" not in str(p)}
    before = sorted((one / "before").rglob("report.json"))
    assert len(before) == 5
    for report in before:
        assert report.read_bytes() == (two / report.relative_to(one)).read_bytes(), report
    weights, others = load_file(one / ADAPTER), load_file(two / ADAPTER)
    for name, value in weights.items():
        assert (value - others[name]).abs().max() < 1e-6, name


def same_adapter(folder: Path, model: PeftModel) -> None:
    loaded = PeftModel.from_pretrained(tiny_model("llama"), folder)
    wanted = {n: p for n, p in model.named_parameters() if "lora" in n}
    found = {n: p for n, p in loaded.named_parameters() if "lora" in n}
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name].cpu(), value.cpu(), rtol=0, atol=1e-6)


def test_a_loop_over_a_sharded_model_learns_what_one_process_does(made):
    model, tries = adapted()
    two = torch.load(made.folder / "losses.pt")
    assert two.tolist() == pytest.approx(losses(model, tries), rel=1e-6)
    same_adapter(made.folder, model)


@pytest.mark.gpu
def test_the_trainer_shards_over_gpus(tmp_path):
    (tmp_path / "sharded").mkdir()
    num = max(num for num in (1, 2, 4, 8) if num <= torch.cuda.device_count())  # of 8 a step
    started([*TORCHRUN, str(num)], tmp_path / "sharded", "shard")
    sharded = torch.load(tmp_path / "sharded" / "losses.pt")
    run = trainer(tmp_path / "whole", 1, n=8)
    logged = [line["loss"] for line in result(run)["logged"] if "loss" in line]
    assert sharded.tolist() == pytest.approx(logged, rel=1e-4)
    same_adapter(tmp_path / "sharded", run.adapted)
