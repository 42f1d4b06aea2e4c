"""Two processes take the step that one would."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from distmatch.data import Example, WordDistribution
from distmatch.models.lora import lora
from distmatch.trainer import DistributionConfig, DistributionTrainer
from tests.tiny import tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[2]
TEXTS = ["green tea and milk", "the red fox ran over the hill", "a cat"]


def examples() -> list[Example]:
    pairs = [("red", "blue"), ("cat", "dog"), ("otter", "red fox"), ("tea", "milk")]
    return [
        Example(prompt=f"Say {first} or {second}", target=WordDistribution((first, second), (p, q)))
        for first, second in pairs
        for p, q in ((0.75, 0.25), (0.5, 0.5))
    ]


def step(folder: str, batch: int) -> dict[str, torch.Tensor]:
    """The weights after one step of plain descent at rate 1, and before it."""
    run = DistributionTrainer(
        model=tiny_model("llama"),
        args=DistributionConfig(
            output_dir=folder,
            max_steps=1,
            learning_rate=1.0,
            optim="sgd",
            max_grad_norm=0.0,
            per_device_train_batch_size=batch,
            logging_steps=1,
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            retention_weight=0.5,
        ),
        processing_class=tiny_tokenizer(),
        peft_config=lora("all", rank=4),
        train_dataset=examples(),
        retention_dataset=TEXTS,
    )
    weights = [p for p in run.model.parameters() if p.requires_grad]
    before = torch.cat([p.detach().clone().flatten() for p in weights])
    run.train()
    after = torch.cat([p.detach().flatten() for p in weights])
    logged = torch.tensor(run.state.log_history[0]["loss"])
    return {"gradient": before - after, "loss": logged}


def test_two_processes_take_the_step_of_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    running = []
    for rank in "01":
        place = {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, str(tmp_path), rank]
        environment = os.environ | shared | place | {"PYTHONPATH": str(ROOT)}
        running.append(subprocess.Popen(command, env=environment))
    assert [process.wait() for process in running] == [0, 0]
    one = step(str(tmp_path / "one"), batch=8)
    for rank in "01":
        two = torch.load(tmp_path / f"{rank}.pt")
        assert (two["gradient"] - one["gradient"]).norm() <= 1e-5 * one["gradient"].norm()
        torch.testing.assert_close(two["loss"], one["loss"], rtol=1e-5, atol=0)


if __name__ == "__main__":
    folder, rank = sys.argv[1:]
    torch.save(step(folder, batch=4), f"{folder}/{rank}.pt")
