"""How much of the weights does a cell of a layer sweep read, when it trains above kept states?

Counts the pages of the mapped checkpoint that three training steps touch. They are of a copy of
the embedded model, since pages that other processes read would count too. Linux.

    python benchmarks/weights_read.py --json benchmarks/results/weights_read.json
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import device_and_versions

import distmatch as dm
from distmatch.data.batching import make_batch
from distmatch.data.tasks.output_control import OutputControl
from distmatch.models.loading import embedded_directory
from distmatch.models.trunk import Tree, Trunk
from distmatch.scoring import model_encoder

STEPS, BATCH = 3, 8


def main() -> None:
    """Train attention of one block after another, upwards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where the result goes")
    parser.add_argument("--blocks", type=int, nargs="+", default=[0, 7, 15, 22, 29])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(embedded_directory(), Path(folder) / "model")
        model, tokenizer = dm.load_model(str(copy), dtype="float32", device="cpu")
        examples, _ = OutputControl().draw(STEPS * BATCH, n_test=0)
        encoder = model_encoder(model, tokenizer)
        batches = [make_batch([trie], encoder) for trie in encoder.encode_all(examples)]
        trunk = Trunk(model, [Tree(b.ids, b.depths, b.ends) for b in batches], progress=False)
        read = {}
        for block in sorted(args.blocks):
            trunk.raise_to(block)
            trainer = dm.DistributionTrainer(
                model=model,
                processing_class=tokenizer,
                args=settings(Path(folder) / "run"),
                train_dataset=examples,
                peft_config=dm.lora(f"attention@{block}"),
            )
            with trunk.installed():
                Path("/proc/self/clear_refs").write_text("1")
                trainer.train()
            trainer.model.unload()
            pages = mapped_mb(copy)
            read[f"attention@{block}"] = pages["Referenced"]
        result: dict[str, Any] = {
            "command": " ".join(["python", *sys.argv]),
            **device_and_versions(model.device),
            "weights_mb": pages["Size"],
            "own_copy_mb": pages["Anonymous"],
            "read_mb": read,
        }
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def settings(folder: Path) -> dm.DistributionConfig:
    """Of the steps that are watched."""
    return dm.DistributionConfig(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )


def mapped_mb(folder: Path) -> dict[str, float]:
    """What the kernel tells of this process's mappings of a checkpoint's weights, in 1e6 bytes."""
    sums: dict[str, float] = {}
    is_of_weights = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            is_of_weights = str(folder) in line and line.endswith(".safetensors")
        elif is_of_weights and (found := re.fullmatch(r"(\w+):\s+(\d+) kB", line)):
            sums[found[1]] = round(sums.get(found[1], 0) + int(found[2]) * 1024 / 1e6, 1)
    return sums


if __name__ == "__main__":
    main()
