"""What does a training step cost on 4-bit weights, in time and in memory?

A small gpt-oss with its experts packed against the same unpacked, and the embedded model in NF4
against float32. Both of a pair take whole steps on the same prompts, in turns. Memory is that of
each kind alone in a process: its weights' bytes, and how far a step rises above what is held. Last,
how far NF4 moves the model's distribution at the answer's first token.

    python benchmarks/quantized.py --json benchmarks/results/quantized.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from machine import device_and_versions, medians_in_turns, peak_mb, training_step
from transformers import AutoModelForCausalLM, GptOssConfig

import distmatch as dm
from distmatch.data.batching import make_batch
from distmatch.models.footprint import empty_model, weight_bytes
from distmatch.models.loading import load_config, load_tokenizer
from distmatch.models.quantizers import save_packed
from distmatch.scoring import model_encoder

EMBEDDED = "smollm2-135m"
KINDS: dict[str, tuple[str, str | None]] = {
    "unpacked": ("gpt-oss", None),
    "mxfp4": ("gpt-oss", "mxfp4"),
    "float32": (EMBEDDED, None),
    "nf4": (EMBEDDED, "nf4"),
}
PAIRS = (("mxfp4", "unpacked"), ("nf4", "float32"))


def main() -> None:
    """Time each pair in turns, and measure each kind's memory alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the rows go")
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each kind")
    parser.add_argument("--only", choices=KINDS, help="print the memory of this kind alone")
    parser.add_argument("--gpt-oss", type=Path, help="where the small gpt-oss lies")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(memory_mb(args.only, args.gpt_oss)))
        return
    with tempfile.TemporaryDirectory() as folder:
        small_gpt_oss(Path(folder))
        rows = [measure(pair, Path(folder), args.steps) for pair in PAIRS]
    shift = nf4_shift()
    print(json.dumps(shift))
    if args.json:
        report = {
            "command": " ".join(["python", *sys.argv]),
            **device_and_versions(torch.device("cpu")),
            "load_average": os.getloadavg()[0],
            "rows": rows,
            "nf4_shift": shift,
        }
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(pair: tuple[str, str], folder: Path, num_steps: int) -> dict[str, object]:
    """A packed kind beside its plain one."""
    packed, plain = pair
    steps = {kind: step_of(kind, folder) for kind in pair}
    for step in steps.values():
        step()  # warms up
    times = medians_in_turns(steps, num_steps)
    alone = {kind: in_a_process_of_its_own(kind, folder) for kind in pair}
    row = {
        "packed": packed,
        "plain": plain,
        "packed_ms": times[packed],
        "plain_ms": times[plain],
        "ratio": round(times[packed] / times[plain], 2),
        **{f"packed_{name}": size for name, size in alone[packed].items()},
        **{f"plain_{name}": size for name, size in alone[plain].items()},
    }
    print(json.dumps(row), flush=True)
    return row


def in_a_process_of_its_own(kind: str, folder: Path) -> dict[str, int]:
    """`memory_mb`, where nothing else has been in memory."""
    command = [sys.executable, __file__, "--only", kind, "--gpt-oss", str(folder)]
    return json.loads(subprocess.check_output(command, text=True).splitlines()[-1])


def memory_mb(kind: str, folder: Path) -> dict[str, int]:
    """The weights' bytes, and how far a step rises above what is held before it."""
    name, quantization = KINDS[kind]
    config = load_config(str(folder) if name == "gpt-oss" else name)
    weights = weight_bytes(empty_model(config, quantization, torch.float32), quantization)
    step = step_of(kind, folder)
    step()  # weights that lie in a file are read when they're first used
    return {
        "weights_mb": round(weights / 1e6),
        "step_mb": round(peak_mb(step) - peak_mb(lambda: None)),
    }


def step_of(kind: str, folder: Path) -> Callable[[], None]:
    """Forward, backward and update of 8 output-control prompts, LoRA of rank 8 on everything."""
    name, quantization = KINDS[kind]
    path = str(folder) if name == "gpt-oss" else name
    model, tokenizer = dm.load_model(
        path, quantization=quantization, dtype=torch.float32, device="cpu"
    )
    adapted = dm.attach_lora(model, dm.lora("all", rank=8), seed=0)
    encoder = model_encoder(adapted, tokenizer)
    examples, _ = dm.data.output_control(n=8, words=(2,), n_test=1, seed=0)
    batch = make_batch(encoder.encode_all(examples), encoder)
    return training_step(adapted, batch)


@torch.no_grad()
def nf4_shift(num_prompts: int = 40) -> dict[str, float]:
    """Mean KL(float32 || nf4) over the whole vocabulary at the slot of output-control prompts."""
    log_probs = []
    for quantization in (None, "nf4"):
        model, tokenizer = dm.load_model(EMBEDDED, quantization=quantization, device="cpu")
        encoder = model_encoder(model, tokenizer)
        examples, _ = dm.data.output_control(n=num_prompts, words=(2,), n_test=1, seed=0)
        prompts = [torch.tensor([trie.prompt_ids]) for trie in encoder.encode_all(examples)]
        log_probs.append(
            torch.cat(
                [model(ids, logits_to_keep=1).logits[:, -1].log_softmax(-1) for ids in prompts]
            )
        )
    full, packed = log_probs
    each = (full.exp() * (full - packed)).sum(-1)
    return {"prompts": num_prompts, "mean_kl_nats": round(each.mean().item(), 3)}


def small_gpt_oss(folder: Path) -> None:
    """Random weights: 8 blocks of 16 experts of 3 x 512 x 512, 4 of them chosen; packed."""
    config = GptOssConfig(
        vocab_size=49152,
        num_hidden_layers=8,
        hidden_size=512,
        intermediate_size=512,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=64,
        num_local_experts=16,
        num_experts_per_tok=4,
        eos_token_id=2,
        pad_token_id=2,
    )
    torch.manual_seed(0)
    save_packed(AutoModelForCausalLM.from_config(config), folder)
    load_tokenizer(EMBEDDED).save_pretrained(folder)


if __name__ == "__main__":
    main()
