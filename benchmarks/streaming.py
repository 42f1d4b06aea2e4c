"""How much memory does it take to load a packed gpt-oss, at its fullest?

Writes a sharded checkpoint of random bytes whose blocks are as large as gpt-oss-20b's, then loads
it in a fresh process and watches its anonymous memory: what it holds beside pages of the files.
Weights may stay such pages until they're used; so all are touched, and what the process then holds
altogether is told too. Needs disk space for the checkpoint, and Linux.

    python benchmarks/streaming.py --blocks 6 --json benchmarks/results/streaming.json
"""

import argparse
import json
import mmap
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from machine import device_and_versions
from transformers import GptOssConfig

import distmatch as dm
from distmatch.models.footprint import num_bytes
from distmatch.models.loading import load_tokenizer
from distmatch.models.quantizers import random_packed, save_packed

EMBEDDED = "smollm2-135m"


def main() -> None:
    """Write the checkpoint, and load it elsewhere."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--json", type=Path, help="where the result goes")
    parser.add_argument("--load", type=Path, help="load this checkpoint, and print the peak")
    args = parser.parse_args()
    if args.load:
        print(json.dumps(watched_load(args.load)))
        return
    with tempfile.TemporaryDirectory() as folder:
        sizes = write(Path(folder), args.blocks)
        command = [sys.executable, __file__, "--load", folder]
        loaded = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    result = sizes | loaded
    print(json.dumps(result))
    if args.json:
        told = {"command": " ".join(["python", *sys.argv])}
        report = told | device_and_versions(torch.device("cpu")) | result
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def write(folder: Path, num_blocks: int) -> dict[str, float]:
    """A checkpoint in files of 1 GB; its size, and that of a block, in 1e9 bytes."""
    config = GptOssConfig(num_hidden_layers=num_blocks, num_local_experts=32)
    model = random_packed(config, "cpu", torch.bfloat16)
    save_packed(model, folder, max_shard_size="1GB")
    load_tokenizer(EMBEDDED).save_pretrained(folder)
    files = list(folder.glob("*.safetensors"))
    block = sum(num_bytes(weight) for weight in model.model.layers[0].parameters())
    return {
        "files": len(files),
        "checkpoint_gb": round(sum(path.stat().st_size for path in files) / 1e9, 3),
        "block_gb": round(block / 1e9, 3),
    }


def watched_load(folder: Path) -> dict[str, float]:
    """Above what was held before: anonymous memory at most and in the end, and all in the end."""
    before, all_before = held_bytes("RssAnon"), held_bytes("VmRSS")
    seen = [before]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(held_bytes("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    model, _ = dm.load_model(str(folder), quantization="mxfp4", device="cpu")
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    for weight in model.parameters():
        weight.view(torch.uint8).flatten()[:: mmap.PAGESIZE].sum()
    held = {
        "weights_gb": sum(num_bytes(weight) for weight in model.parameters()),
        "anonymous_peak_gb": max(seen) - before,
        "anonymous_after_use_gb": held_bytes("RssAnon") - before,
        "resident_after_use_gb": held_bytes("VmRSS") - all_before,
    }
    return {name: round(size / 1e9, 3) for name, size in held.items()} | {
        "seconds": round(seconds, 1)
    }


def held_bytes(kind: str) -> int:
    """What this process holds of a kind that Linux counts."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{kind}:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


if __name__ == "__main__":
    main()
