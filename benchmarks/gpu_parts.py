"""What `gpu_check.py` measures: a function a part, each on a gpt-oss of random weights of its own.

Nothing is loaded: the model is made on the device itself, its experts packed as published.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from machine import training_step
from step_split import REST, Split, least_time, rates_of
from torch import nn
from transformers import GptOssConfig, PreTrainedModel, PreTrainedTokenizerBase

sys.path.append(str(Path(__file__).parents[1]))
import distmatch as dm
from distmatch.data import word_pool
from distmatch.data.batching import Batch, make_batch
from distmatch.data.trie import Encoder, TokenIds, TokenTrie
from distmatch.evals import Given, LocalModel, measure
from distmatch.models import load_tokenizer, random_packed
from distmatch.models.blocks import decoder_blocks
from distmatch.models.head import output_head
from distmatch.scoring import model_encoder
from distmatch.sweeps import Grid
from examples.offline_gptoss import GPT_OSS_20B, harmony_tokenizer

RANK = 8
KINDS = {
    "attention": ("attention", "mxfp4"),
    "experts": ("experts", "mxfp4"),
    "nf4": ("attention", "mxfp4+nf4"),
}
"""By name, which weights learn and what is packed."""
CAPS_GB = (16, 24)
NO_GPU = "no GPU"

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPE = torch.bfloat16 if DEVICE.type == "cuda" else torch.float32  # which CPUs are faster in

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Size:
    """How large a model is, and how much is measured on it; what is made of one is kept by it."""

    config: GptOssConfig
    tokenizer: Callable[[], PreTrainedTokenizerBase]
    prompts: int
    """In a step."""
    tokens: int
    """Of each prompt."""
    steps: int
    """Timed ones, after a first."""
    texts: Sequence[tuple[int, int]]
    """Of steps with retention: how many, and of how many tokens."""
    ordinary: int
    """Texts that a sweep's cells are held against the base on."""
    per_group: int
    """Prompts of each group that the suite asks."""
    width: int
    """Of the matrices by whose product the device's rate is measured."""
    num_copied: int
    """Bytes by which its bandwidth is."""


FULL = Size(
    config=GPT_OSS_20B,
    tokenizer=harmony_tokenizer,
    prompts=8,
    tokens=128,
    steps=10,
    texts=((2, 64), (8, 256)),
    ordinary=4,
    per_group=40,
    width=8192,
    num_copied=1 << 30,
)
TINY = Size(
    config=GptOssConfig(
        vocab_size=49152,
        num_hidden_layers=2,
        hidden_size=64,
        intermediate_size=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=4,
        num_experts_per_tok=2,
        eos_token_id=2,
        pad_token_id=2,
    ),
    tokenizer=cache(partial(load_tokenizer, "smollm2-135m")),
    prompts=2,
    tokens=72,
    steps=1,
    texts=((2, 8), (3, 16)),
    ordinary=1,
    per_group=1,
    width=64,
    num_copied=1 << 16,
)


class Ready(NamedTuple):
    """A model that is to take steps."""

    model: PreTrainedModel
    adapted: nn.Module
    encoder: Encoder
    tries: list[TokenTrie]

    def batch(self, texts: Sequence[TokenIds] = ()) -> Batch:
        """The prompts, with texts beside them."""
        return make_batch(self.tries, self.encoder, texts=texts).to(DEVICE)


def step(size: Size, *, kind: str, cap_gb: int | None = None) -> Row:
    """A training step's memory beside the plan's; where it isn't capped, its time in parts as well.

    Args:
        size: Of it all.
        kind: One of `KINDS`.
        cap_gb: The most that torch may take of the device's memory, in units of 1e9 bytes.
    """
    target, quantization = KINDS[kind]
    row: Row = {"target": target, "quantization": quantization, "cap_gb": cap_gb}
    row["plan_gb"] = planned_gb(size, kind, (0, 0))
    if cap_gb is not None:
        cap_memory(cap_gb)
    try:
        ready = made_ready(size, kind)
        batch = ready.batch()
        run = training_step(ready.adapted, batch)
        row |= timed(size, run)
    except torch.OutOfMemoryError as error:
        return row | {"fits": False, "said": str(error).partition("\n")[0]}
    row["fits"] = True if DEVICE.type == "cuda" else NO_GPU
    if cap_gb is None:
        row |= in_parts(ready, run) | against_floor(size, kind, batch, row["step_ms"])
    return row


def retention(size: Size) -> Row:
    """Steps with ordinary texts beside the prompts, on which to stay near the base; and without."""
    ready = made_ready(size, "attention")
    rows = []
    for num, tokens in ((0, 0), *size.texts):
        texts = random_texts(num, tokens, len(size.tokenizer()))
        run = training_step(ready.adapted, ready.batch(texts), texts)
        plan = planned_gb(size, "attention", (num, tokens))
        rows.append({"texts": num, "tokens": tokens, **timed(size, run), "plan_gb": plan})
    return {"rows": rows}


def given(size: Size) -> Row:
    """The suite of given words: its rows, not counting their rotations, and how long they take."""
    model, tokenizer = random_packed(size.config, DEVICE, DTYPE), size.tokenizer()
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    start = time.perf_counter()
    report = measure(subject, Given(per_group=size.per_group))
    return {
        "measuring_s": round(time.perf_counter() - start, 2),
        "rows": report.num_examples,
        **memory(),
    }


def sweep(size: Size) -> Row:
    """A sweep of two cells, attention of the last block and everything that is adaptable."""
    model, tokenizer = random_packed(size.config, DEVICE, DTYPE), size.tokenizer()
    train, test = dm.data.output_control(n=2 * size.prompts, words=(2,), n_test=size.prompts)
    last = str(size.config.num_hidden_layers - 1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        dm.sweep(
            model,
            tokenizer,
            train_dataset=train,
            eval_datasets={"test": test},
            args=dm.DistributionConfig(
                output_dir=folder,
                max_steps=size.steps,
                per_device_train_batch_size=size.prompts,
                disable_tqdm=True,
            ),
            grid=Grid(sites=("attention",), blocks=(last,), rank=RANK),
            num_texts=size.ordinary,
        )
        lines = (Path(folder) / "results.jsonl").read_text().splitlines()
    cells = [json.loads(line) for line in lines]
    assert all("failed" not in cell for cell in cells), cells
    told = ("cell", "parameters", "steps", "train_seconds", "seconds", "peak_memory_gb")
    return {
        "sweep_s": round(time.perf_counter() - start, 2),
        "cells": [{name: cell[name] for name in told} for cell in cells],
    }


PARTS: Mapping[str, Callable[[Size], Row]] = {
    **{kind: partial(step, kind=kind) for kind in KINDS},
    **{f"{k}-{c}gb": partial(step, kind=k, cap_gb=c) for k in KINDS for c in CAPS_GB},
    "retention": retention,
    "given": given,
    "sweep": sweep,
}


def made_ready(size: Size, kind: str) -> Ready:
    """A model with an adapter of a kind, with gradient checkpointing."""
    target, quantization = KINDS[kind]
    model = random_packed(size.config, DEVICE, DTYPE)
    if "nf4" in quantization:
        pack_attention(model)
    adapted = dm.attach_lora(model, dm.lora(target, rank=RANK), seed=0).train()
    model.activation_checkpointing_enable({"use_reentrant": False})
    encoder = model_encoder(adapted, size.tokenizer())
    return Ready(model, adapted, encoder, encoder.encode_all(prompts(size)))


def pack_attention(model: PreTrainedModel) -> None:
    """Put attention's linear layers into NF4, as `load_model(quantization="mxfp4+nf4")` does."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    attentions: list[Any] = [block.self_attn for block in decoder_blocks(model).values()]
    for attention in attentions:
        for name, dense in list(attention.named_children()):
            if not isinstance(dense, nn.Linear):
                continue
            with torch.device("meta"):
                packed = Linear4bit(
                    *(dense.in_features, dense.out_features, dense.bias is not None),
                    compute_dtype=DTYPE,
                    quant_type="nf4",
                )
            values = Params4bit(dense.weight.detach(), quant_type="nf4", module=packed)
            packed.weight, packed.bias = values.to(DEVICE), dense.bias
            packed.support_avx512bf16_for_cpu = False  # it would be packed anew, and wrongly
            attention.set_submodule(name, packed)
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # by which PEFT knows


@cache
def prompts(size: Size) -> list[dm.Example]:
    """Those of a step, two words each; other words fill them up to as many tokens as wanted."""
    tokenizer = size.tokenizer()
    encoder, made = Encoder(tokenizer), []
    fill = cycle(w for w in word_pool() if len(tokenizer(f" {w}")["input_ids"]) == 1)
    for example in dm.data.output_control(n=size.prompts, words=(2,), n_test=1)[0]:
        messages: Any = example.prompt
        missing = size.tokens - len(encoder.encode(example).prompt_ids)
        content = " ".join([messages[-1]["content"], *islice(fill, missing)])
        longer = (*messages[:-1], {**messages[-1], "content": content})
        made.append(replace(example, prompt=longer))
        assert len(encoder.encode(made[-1]).prompt_ids) == size.tokens
    return made


def random_texts(num: int, tokens: int, vocabulary: int) -> list[TokenIds]:
    """Texts of random tokens, always the same."""
    ids = torch.randint(vocabulary, (num, tokens), generator=torch.Generator().manual_seed(0))
    return [tuple(text) for text in ids.tolist()]


@cache
def planned_gb(size: Size, kind: str, texts: tuple[int, int]) -> float:
    """What the plan says that a step takes, with so many texts of so many tokens beside it."""
    target, quantization = KINDS[kind]
    plan = dm.memory_plan(
        size.config,
        prompts(size),
        dm.lora(target, rank=RANK),
        tokenizer=size.tokenizer(),
        quantization=quantization,
        dtype=DTYPE,
        checkpointing=True,
        retention=texts,
    )
    return round(plan.total / 1e9, 3)


def cap_memory(gb: int) -> None:
    """Let torch take no more of the GPU, if there is one, than a smaller one has."""
    if DEVICE.type == "cuda":
        whole = torch.cuda.get_device_properties(DEVICE).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, gb * 1e9 / whole))


def timed(size: Size, run: Callable[[], None]) -> Row:
    """A step's median milliseconds, and what is held at most; Adam's moments are there already."""
    run()
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    split = Split(DEVICE)
    each = [split.milliseconds(run) for _ in range(size.steps)]
    return {"step_ms": round(statistics.median(each), 1), **memory()}


def memory() -> Row:
    """The GPU's memory at its fullest, in units of 1e9 bytes.

    Tensors at most; what torch holds for them; and what is held besides, by CUDA and its libraries.
    """
    if DEVICE.type == "cpu":
        return {"peak_gb": NO_GPU}
    free, whole = torch.cuda.mem_get_info()
    held = {
        "peak_gb": torch.cuda.max_memory_allocated(),
        "reserved_gb": torch.cuda.max_memory_reserved(),
        "besides_gb": whole - free - torch.cuda.memory_reserved(),
    }
    return {name: round(size / 1e9, 3) for name, size in held.items()}


def in_parts(ready: Ready, run: Callable[[], None]) -> Row:
    """Where a step's time goes."""
    split = Split(DEVICE)
    split.watch(output_head(ready.adapted), "head")
    for block in decoder_blocks(ready.model).values():
        split.watch(block, REST)
        split.watch(block.self_attn, "attention")  # type: ignore[arg-type]
        split.watch(block.mlp.experts, "experts")  # type: ignore[arg-type, union-attr]
    return {"parts_ms": {name: round(part, 1) for name, part in split.parts(run).items()}}


def against_floor(size: Size, kind: str, batch: Batch, step_ms: float) -> Row:
    """The tokens that are fed, since prompts that begin alike do so once; and what they must take.

    Also how many times as long the step is.
    """
    tokens = batch.ids.numel()
    rates = rates_of(DEVICE, size.width, size.num_copied)
    least = least_time(size.config, KINDS[kind][1], tokens, rates)
    return {
        "prompt_tokens": size.prompts * size.tokens,
        "fed_tokens": tokens,
        "fed_tokens_per_s": round(1000 * tokens / step_ms),
        **rates,
        **least,
        "times_floor": round(step_ms / least["floor_ms"], 1),
    }
