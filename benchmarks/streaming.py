"""How much memory does it take to load a packed gpt-oss, at its fullest?

Writes a sharded checkpoint of random bytes whose blocks are as large as gpt-oss-20b's, then loads
it in a fresh process and watches its own (anonymous) memory. Should stay below the checkpoint's
size and one block. Needs disk space for it, and Linux.

    python benchmarks/streaming.py --blocks 6 --json benchmarks/results/streaming.json
"""

import argparse
import json
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
    result["over_checkpoint_gb"] = round(loaded["peak_gb"] - sizes["checkpoint_gb"], 3)
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
    """The most anonymous memory while loading, above what was held before, and after it."""
    before = anonymous_bytes()
    seen = [before]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    model, _ = dm.load_model(str(folder), quantization="mxfp4", device="cpu")
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    held = sum(num_bytes(weight) for weight in model.parameters())
    return {
        "peak_gb": round((max(seen) - before) / 1e9, 3),
        "after_gb": round((anonymous_bytes() - before) / 1e9, 3),
        "weights_gb": round(held / 1e9, 3),
        "seconds": round(seconds, 1),
    }


def anonymous_bytes() -> int:
    """Of this process, without pages that are a file's."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


if __name__ == "__main__":
    main()
