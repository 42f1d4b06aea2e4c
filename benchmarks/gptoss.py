"""What does a training step of gpt-oss-20b take: how much memory, how long, and where?

Random weights of its true size and shapes, packed as published, made on the device itself; 8
prompts of 128 tokens with two words each, gradient checkpointing. Time is split into the head,
unpacking, attention and experts (these without unpacking); a step has to read the packed weights
at least twice. Needs a GPU of 16 GB; --small tries the same on a CPU.

    python benchmarks/gptoss.py --json benchmarks/results/gptoss.json
"""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from machine import device_and_versions, training_step
from torch import Tensor, nn
from transformers import GptOssConfig

sys.path.append(str(Path(__file__).parents[1]))
import distmatch as dm
from distmatch.data.batching import make_batch
from distmatch.data.trie import Encoder
from distmatch.models import experts
from distmatch.models.blocks import decoder_blocks
from distmatch.models.footprint import weight_bytes
from distmatch.models.head import output_head
from distmatch.models.quantizers import random_packed
from distmatch.scoring import model_encoder
from examples.offline_gptoss import GPT_OSS_20B, harmony_tokenizer

PROMPTS, TOKENS, RANK = 8, 128, 8
SMALL = GptOssConfig(
    num_hidden_layers=4,
    hidden_size=256,
    intermediate_size=256,
    num_attention_heads=4,
    num_key_value_heads=2,
    num_local_experts=8,
)


def main() -> None:
    """Measure each target on a model of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the rows go")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each target")
    parser.add_argument("--targets", nargs="+", default=["attention", "experts"])
    parser.add_argument("--small", action="store_true", help="a small model")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = SMALL if args.small else GPT_OSS_20B
    report = {
        "command": " ".join(["python", *sys.argv]),
        **device_and_versions(device),
        "rows": [measure(config, target, device, args.steps) for target in args.targets],
    }
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(
    config: GptOssConfig, target: str, device: torch.device, num_steps: int
) -> dict[str, object]:
    """One row: memory, time and its parts."""
    model = random_packed(config, device, torch.bfloat16)
    packed_bytes = weight_bytes(model, "mxfp4")
    adapted = dm.attach_lora(model, dm.lora(target, rank=RANK), seed=0).train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    encoder = model_encoder(adapted, harmony_tokenizer())
    batch = make_batch(encoder.encode_all(examples(encoder)), encoder).to(device)
    split = Split(device)
    step = training_step(adapted, batch)
    step()  # Adam's moments are made in the first
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    milliseconds = statistics.median(split.of(step) for _ in range(num_steps))
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    split.watch(output_head(adapted), "head")
    for block in decoder_blocks(model).values():
        split.watch(block.self_attn, "attention")  # type: ignore[arg-type]
        split.watch(block.mlp.experts, "experts")  # type: ignore[arg-type, union-attr]
    parts = split.parts(step)
    row = {
        "target": target,
        "peak_gb": round(peak / 1e9, 2),
        "step_ms": round(milliseconds, 1),
        "tokens_per_s": round(batch.ids.numel() / milliseconds * 1000),
        "parts_ms": {name: round(part, 1) for name, part in parts.items()},
        "weights_read_twice_gb": round(2 * packed_bytes / 1e9, 2),
    }
    print(json.dumps(row), flush=True)
    return row


class Split:
    """How long things take on a device, and parts of them."""

    def __init__(self, device: torch.device) -> None:
        """Nothing is watched yet."""
        self.on_gpu = device.type == "cuda"
        self.spans: dict[str, list[tuple[object, object]]] = defaultdict(list)

    def now(self) -> object:
        """A moment, on the device's clock."""
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: object, end: object) -> float:
        """Milliseconds."""
        if not self.on_gpu:
            return 1000 * (end - start)  # type: ignore[operator]
        torch.cuda.synchronize()
        return start.elapsed_time(end)  # type: ignore[attr-defined]

    def of(self, run: Callable[[], None]) -> float:
        """How long it takes."""
        start = self.now()
        run()
        return self.between(start, self.now())

    def watch(self, module: nn.Module, name: str) -> None:
        """Count a module's forwards, recomputed ones too, and backwards to a part."""
        begun: list[object] = []

        def begin(*_: object) -> None:
            begun.append(self.now())

        def end(*_: object) -> None:
            self.spans[name].append((begun.pop(), self.now()))

        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end)
        module.register_full_backward_pre_hook(begin)
        module.register_full_backward_hook(end)

    def parts(self, run: Callable[[], None]) -> dict[str, float]:
        """The parts of one run; unpacking, which happens among the experts, apart from them."""
        self.spans.clear()
        unpack = experts.dequantize

        def timed(blocks: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
            start = self.now()
            values = unpack(blocks, scales, dtype)
            self.spans["unpacking"].append((start, self.now()))
            return values

        experts.dequantize = timed  # type: ignore[assignment]
        try:
            run()
        finally:
            experts.dequantize = unpack
        sums = {
            name: sum(self.between(start, end) for start, end in spans)
            for name, spans in self.spans.items()
        }
        sums["experts"] -= sums["unpacking"]
        return sums


def examples(encoder: Encoder) -> list[dm.Example]:
    """Prompts of exactly `TOKENS` tokens, two words each."""
    made = []
    for example in dm.data.output_control(n=PROMPTS, words=(2,), n_test=1)[0]:
        *before, message = example.prompt
        short = TOKENS - len(encoder.encode(example).prompt_ids)
        longer = message | {"content": message["content"] + " again" * short}  # type: ignore[operator, index]
        made.append(replace(example, prompt=[*before, longer]))
    return made


if __name__ == "__main__":
    main()
