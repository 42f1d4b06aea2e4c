"""What does a model lose when its GGUF file is unpacked or packed anew, and how long does it take?

The file is converted into an empty cache and loaded again, each in a process of its own, whose
imports aren't counted. Then prompts of output control are put to it in float32, which holds the
file's values exactly, and with its weights rounded in other ways: KL over the whole vocabulary,
where the answer begins and on average over the prompts' tokens.

    python benchmarks/gguf_file.py runs/models/qwen2.5-coder-0.5b.gguf
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import device_and_versions
from torch import nn

import distmatch as dm
from distmatch.models.footprint import empty_model, weight_bytes
from distmatch.models.loading import load_config
from distmatch.scoring import model_encoder

PRECISIONS = ("float32", "bfloat16")
ROUNDED = ("bfloat16, computed in float32", "bfloat16", "nf4")


def main() -> None:
    """Time both precisions, then measure every way to round."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path, help="a GGUF file")
    parser.add_argument("--prompts", type=int, default=20, help="how many (20)")
    parser.add_argument("--json", type=Path, help="where the rows go")
    parser.add_argument("--load", choices=PRECISIONS, help="load it once, and print the seconds")
    args = parser.parse_args()
    if args.load:
        print(loading_seconds(args.file, args.load))
        return
    report = {
        "command": " ".join(["python", *sys.argv]),
        **device_and_versions(torch.device("cpu")),
        "load_average": os.getloadavg()[0],
        "seconds": [times_of(args.file, precision) for precision in PRECISIONS],
        "shifts": shifts(args.file, args.prompts),
    }
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def times_of(file: Path, precision: str) -> dict[str, object]:
    """Seconds of the first `load_model`, which converts, and of two later ones."""
    command = [sys.executable, __file__, str(file), "--load", precision]
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"DISTMATCH_CACHE": cache}
        told = [
            subprocess.check_output(command, text=True, env=environment).splitlines()[-1]
            for _ in range(3)
        ]
    first, *later = (float(seconds) for seconds in told)
    empty = empty_model(load_config(str(file)), None, getattr(torch, precision))
    gigabytes = round(weight_bytes(empty, None) / 1e9, 2)
    row = {"precision": precision, "gb": gigabytes, "converted": first, "loaded": later}
    print(json.dumps(row), flush=True)
    return row


def loading_seconds(file: Path, precision: str) -> float:
    """Of one `load_model`."""
    _ = dm.load_model  # imported before the clock starts
    start = time.perf_counter()
    dm.load_model(str(file), dtype=precision, device="cpu")
    return round(time.perf_counter() - start, 1)


@torch.no_grad()
def shifts(file: Path, num_prompts: int) -> list[dict[str, object]]:
    """KL(float32 || rounded) in nats for each way to round."""
    exact, tokenizer = dm.load_model(str(file), dtype="float32", device="cpu")
    encoder = model_encoder(exact, tokenizer)
    examples, _ = dm.data.output_control(n=num_prompts, words=(2,), n_test=1, seed=0)
    prompts = [torch.tensor([trie.prompt_ids]) for trie in encoder.encode_all(examples)]
    rows: list[dict[str, object]] = []
    for way in ROUNDED:
        rounded = rounded_model(file, way)
        each = [kl_by_token(exact, rounded, ids) for ids in prompts]
        slots = torch.stack([kl[-1] for kl in each])
        row = {
            "rounded": way,
            "prompts": num_prompts,
            "slot_mean": slots.mean().item(),
            "slot_largest": slots.max().item(),
            "token_mean": torch.cat(each).mean().item(),
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def rounded_model(file: Path, way: str) -> nn.Module:
    """The model with its weights rounded in one of the ways."""
    if way == "nf4":
        return dm.load_model(str(file), quantization="nf4", device="cpu")[0]
    model, _ = dm.load_model(str(file), dtype="bfloat16", device="cpu")
    return model if way == "bfloat16" else model.float()


def kl_by_token(exact: nn.Module, rounded: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Nats at each place of a prompt, over the whole vocabulary, in float64."""
    ours, theirs = (model(ids).logits[0].double().log_softmax(-1) for model in (exact, rounded))
    return (ours.exp() * (ours - theirs)).sum(-1)


if __name__ == "__main__":
    main()
