"""What each of two processes does, as torchrun or accelerate starts it."""

import gc
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from distmatch.cli import main
from distmatch.data import Example, WordDistribution
from distmatch.data.batching import make_batch
from distmatch.data.trie import TokenTrie
from distmatch.losses import forward_kl, support_log_probs
from distmatch.models.attaching import attach_lora
from distmatch.models.blocks import decoder_blocks
from distmatch.models.lora import lora
from distmatch.models.quantizers import random_packed
from distmatch.scoring import model_encoder, score_batch
from distmatch.trainer import DistributionConfig, DistributionTrainer
from tests.tiny import tiny_model, tiny_tokenizer

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


def packed() -> PreTrainedModel:
    """A gpt-oss whose experts are packed."""
    config = tiny_model("gpt_oss", num_hidden_layers=2, hidden_size=64, intermediate_size=64).config
    return random_packed(config, "cpu", torch.float32)


RUNS: dict[str, dict[str, Any]] = {
    "an uneven last batch": {"use_cpu": torch.cuda.is_available()},  # which needn't be said
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
    "checkpointing": {"activation_checkpointing": True, "n": 10},
    "evaluation": {"evaluated": True},
    "packed experts": {"model": packed, "n": 10},
    "made by two": {"max_steps": 2, **KEPT},
    "made by one": {"max_steps": 4, **KEPT},
}


def trainer(folder: Path, world: int, **given: Any) -> DistributionTrainer:
    """A run of two epochs by plain descent, eight examples a step unless told otherwise."""
    model = given.pop("model", partial(tiny_model, "llama", num_hidden_layers=2))
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
        model=model(),
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


ROWS, STEPS = 12, 3


def adapted() -> tuple[PeftModel, list[TokenTrie]]:
    """A model for a loop of one's own, and what it is taught."""
    model = attach_lora(tiny_model("llama"), lora("all", rank=4), seed=0)
    return model, model_encoder(model, tiny_tokenizer()).encode_all(examples(ROWS))


def losses(model: PeftModel, tries: list[TokenTrie]) -> list[float]:
    """Such a loop: some steps of plain descent, each over all examples."""
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


def loop(folder: Path) -> None:
    """That over a half of the examples, with a half of each weight."""
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
        model.save_pretrained(folder, state_dict=whole)
        torch.save(own / 2, folder / "losses.pt")


def shard(folder: Path) -> None:
    """The trainer, told to shard over GPUs."""
    run = trainer(folder, int(os.environ["WORLD_SIZE"]), use_cpu=False, fsdp="full_shard", n=8)
    logged = [line["loss"] for line in result(run)["logged"] if "loss" in line]
    assert all(isinstance(weight, DTensor) for weight in run.adapted.parameters())
    run.save_model()
    if run.args.process_index == 0:
        torch.save(torch.tensor(logged), folder / "losses.pt")


def train(folder: Path, name: str) -> None:
    """A run of the trainer, whose result is kept."""
    run = trainer(folder / name, 2, **RUNS[name])
    calls: list[int] = []
    run.adapted.base_model.model.register_forward_pre_hook(lambda *_: calls.append(1))
    kept = result(run, resume=name == "made by one")
    torch.save(kept | {"forwards": len(calls)}, folder / f"{name} {os.environ['RANK']}.pt")


def work(folder: Path, names: list[str]) -> None:
    """All that is named, in order."""
    for name in names:
        if name in RUNS:
            train(folder, name)
        elif name in ("loop", "shard"):
            {"loop": loop, "shard": shard}[name](folder)
        else:
            assert main(["train", name]) == 0


if __name__ == "__main__":
    gc.freeze()  # the many collections that training asks for pass over what was imported
    work(Path(sys.argv[1]), sys.argv[2:])
