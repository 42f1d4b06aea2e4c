"""Weights sharded over processes (FSDP2): the same losses and the same adapter."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers.training_args import ParallelMode

from distmatch.data.batching import make_batch
from distmatch.data.trie import TokenTrie
from distmatch.errors import ConfigError
from distmatch.losses import forward_kl, support_log_probs
from distmatch.models.attaching import attach_lora
from distmatch.models.blocks import decoder_blocks
from distmatch.models.lora import lora
from distmatch.models.quantizers import random_packed
from distmatch.scoring import model_encoder, score_batch
from distmatch.trainer import DistributionConfig
from distmatch.trainer.given import check_sharding
from tests.tiny import tiny_model, tiny_tokenizer
from tests.trainer.test_given import given
from tests.trainer.test_processes import examples, result, trainer

ROOT = Path(__file__).parents[2]
STEPS, ROWS = 3, 12


def losses(model: PeftModel, tries: list[TokenTrie]) -> list[float]:
    """A loop of one's own: some steps of plain descent, each over all examples."""
    encoder = model_encoder(model, tiny_tokenizer())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.02)
    found = []
    for _ in range(STEPS):
        batch = make_batch(tries, encoder)
        scores = score_batch(model, batch)
        loss = forward_kl(support_log_probs(scores, batch.is_free), batch.target).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


def adapted() -> tuple[PeftModel, list[TokenTrie]]:
    model = attach_lora(tiny_model("llama"), lora("all", rank=4), seed=0)
    return model, model_encoder(model, tiny_tokenizer()).encode_all(examples(ROWS))


def shard(folder: Path) -> None:
    """One of two processes: half of the examples, half of each weight."""
    distributed.init_process_group("gloo")
    rank, half = distributed.get_rank(), ROWS // 2
    model, tries = adapted()
    for block in decoder_blocks(model).values():
        fully_shard(block)
    fully_shard(model)
    assert all(isinstance(weight, DTensor) for weight in model.parameters())
    own = torch.tensor(losses(model, tries[rank * half : (rank + 1) * half]))
    distributed.all_reduce(own)
    whole = {n: p.full_tensor() for n, p in model.named_parameters() if p.requires_grad}
    if rank == 0:
        torch.save(own / 2, folder / "losses.pt")
        model.save_pretrained(folder, state_dict=whole)
    distributed.destroy_process_group()


def by_accelerate(folder: Path) -> None:
    """One of as many processes as there are GPUs: the trainer, told to shard."""
    count = torch.cuda.device_count()
    run = trainer(folder, count, use_cpu=False, fsdp="full_shard", n=8)
    logged = [line["loss"] for line in result(run)["logged"] if "loss" in line]
    assert all(isinstance(weight, DTensor) for weight in run.adapted.parameters())
    run.save_model()
    if run.args.process_index == 0:
        torch.save(torch.tensor(logged), folder / "losses.pt")


def started(folder: Path, what: str, count: int) -> torch.Tensor:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, f"--nproc-per-node={count}", __file__, what, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return torch.load(folder / "losses.pt")


def same_adapter(folder: Path, model: PeftModel) -> None:
    loaded = PeftModel.from_pretrained(tiny_model("llama"), folder)
    wanted = {n: p for n, p in model.named_parameters() if "lora" in n}
    found = {n: p for n, p in loaded.named_parameters() if "lora" in n}
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name].cpu(), value.cpu(), rtol=0, atol=1e-6)


def test_a_loop_over_a_sharded_model_learns_what_one_process_does(tmp_path):
    two = started(tmp_path, "shard", 2)
    model, tries = adapted()
    assert two.tolist() == pytest.approx(losses(model, tries), rel=1e-6)
    same_adapter(tmp_path, model)


@pytest.mark.gpu
def test_the_trainer_shards_over_gpus(tmp_path):
    (tmp_path / "sharded").mkdir()
    sharded = started(tmp_path / "sharded", "by_accelerate", torch.cuda.device_count())
    run = trainer(tmp_path / "whole", 1, n=8)
    logged = [line["loss"] for line in result(run)["logged"] if "loss" in line]
    assert sharded.tolist() == pytest.approx(logged, rel=1e-4)
    same_adapter(tmp_path / "sharded", run.adapted)


def sharding(**told):
    plain = {"fsdp": True, "fsdp_config": {}, "parallel_mode": ParallelMode.DISTRIBUTED}
    return SimpleNamespace(**plain | {"device": torch.device("cuda")} | told)


def test_what_cannot_be_sharded_is_refused_by_name():
    dense = tiny_model("llama")
    packed = random_packed(tiny_model("gpt_oss").config, torch.device("cpu"), torch.float32)
    check_sharding(sharding(), dense, examples(2), has_texts=False)
    check_sharding(sharding(fsdp=False), packed, examples(2), has_texts=True)
    with pytest.raises(ConfigError, match=r"model\.layers\.0\.mlp\.experts.* is packed"):
        check_sharding(sharding(), packed, examples(2), has_texts=False)
    with pytest.raises(ConfigError, match="a retention_dataset takes forwards of the base"):
        check_sharding(sharding(), dense, examples(2), has_texts=True)
    with pytest.raises(ConfigError, match='other = "preserve" takes forwards of the base'):
        check_sharding(sharding(), dense, examples(2, "preserve"), has_texts=False)
    with pytest.raises(ConfigError, match=r'fsdp_config asks for version 1: give \{"version": 2'):
        check_sharding(sharding(fsdp_config={"version": 1}), dense, examples(2), has_texts=False)
    with pytest.raises(ConfigError, match="fsdp shards over processes: start them with torchrun"):
        alone = sharding(parallel_mode=ParallelMode.NOT_DISTRIBUTED)
        check_sharding(alone, dense, examples(2), has_texts=False)


def test_without_gpus_nothing_would_be_sharded(tmp_path):
    args = DistributionConfig(output_dir=str(tmp_path), use_cpu=True, fsdp="full_shard")
    with pytest.raises(ConfigError, match="accelerate shards nothing in processes without a GPU"):
        given(tmp_path, args=args)


if __name__ == "__main__":
    {"shard": shard, "by_accelerate": by_accelerate}[sys.argv[1]](Path(sys.argv[2]))
