"""What does gpt-oss-20b take on this GPU, and do the tests that need a GPU pass?

Random weights of its true size and shapes, packed as published, made on the GPU itself. In parts:

    tests                     those marked `gpu`
    attention, experts, nf4   a step with LoRA on attention, on experts, and on attention whose own
                              weights are in NF4; 8 prompts of 128 tokens, gradient checkpointing:
                              memory beside `dm.memory_plan`'s, time in parts and beside its floor
    ...-16gb, ...-24gb        the same with no more memory than that: does it fit?
    retention                 steps with ordinary texts to stay near the base on
    given                     the suite `given`, 40 prompts a group
    sweep                     two cells

Each is measured in a process of its own, and kept in --out as soon as it is done: started again,
what is there is not repeated, but for what ended with an error. Needs a GPU of 24 GB, and some
minutes; --tiny tries it all on a tiny model, on a CPU if there is no GPU, in seconds.

    python benchmarks/gpu_check.py --out benchmarks/results/gpu_check.json
    python benchmarks/gpu_check.py --out runs/gpu_check.json --parts experts experts-16gb
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_parts import DEVICE, FULL, PARTS, TINY, Row
from machine import device_and_versions

from distmatch.errors import ConfigError
from distmatch.files import check_folder, write_json

ROOT = Path(__file__).parents[1]
TESTS = "tests"
NAMES = (TESTS, *PARTS)
SECONDS = 150
"""In which a part is done, or something is wrong."""
_TOLD = 4000  # characters of what a process said before it failed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what isn't there yet."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argument_parser()
    args = parser.parse_args(arguments)
    if DEVICE.type == "cpu" and not args.tiny:
        parser.error("torch sees no CUDA device here: --tiny tries it all on a CPU")
    if args.only:
        print(json.dumps(PARTS[args.only](TINY if args.tiny else FULL)))
        return
    try:
        report = kept_report(args.out, args.tiny)
    except ConfigError as error:
        parser.error(str(error))
    for name in args.parts:
        if name in report["parts"] and "error" not in report["parts"][name]:
            continue
        start = time.perf_counter()
        row = tests() if name == TESTS else measured(name, args.tiny)
        seconds = round(time.perf_counter() - start, 1)
        told = " ".join(["python", "benchmarks/gpu_check.py", *arguments])
        report["parts"][name] = {"command": told, "seconds": seconds, **row}
        write_json(args.out, report)
        print(name, json.dumps(row), flush=True)
    if failed := [name for name in args.parts if "error" in report["parts"][name]]:
        raise SystemExit(f"{', '.join(failed)}: see {args.out}, then start it again")


def argument_parser() -> argparse.ArgumentParser:
    """What it can be told."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_check.json"), metavar="FILE")
    parser.add_argument("--parts", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--tiny", action="store_true", help="of a tiny model, also on a CPU")
    parser.add_argument(
        "--only", choices=PARTS, metavar="NAME", help="print what comes of this part, keep nothing"
    )
    return parser


def kept_report(path: Path, tiny: bool) -> dict[str, Any]:
    """The file's content, if it is of the same device, versions and size; an empty one of none.

    Raises:
        ConfigError: The file can't be written to, or holds something else.
    """
    about = {**device_and_versions(DEVICE), "size": "tiny" if tiny else "gpt-oss-20b"}
    check_folder(path.parent, "--out's folder")
    if not path.exists():
        return {**about, "parts": {}}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        found = {name: report[name] for name in about}
        report["parts"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"--out is {path}, which holds no results: give another file") from error
    if found != about:
        raise ConfigError(f"{path} holds results of {found}, not of {about}: give another --out")
    return report


def tests() -> Row:
    """How many of the tests that need a GPU pass; without one all are skipped."""
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if is_marked(path)]
    said, wrong = run(["-m", "pytest", "-q", "-m", "gpu", *map(str, sorted(files))])
    last = said.strip().rpartition("\n")[2]
    counts = {name: int(num) for num, name in re.findall(r"(\d+) (\w+)", last)}
    row = {name: counts.get(name, 0) for name in ("passed", "failed", "skipped")}
    return row | ({"error": wrong} if wrong else {})


def is_marked(path: Path) -> bool:
    """Whether a file has tests that need a GPU: others may need packages that aren't there."""
    return "mark.gpu" in path.read_text(encoding="utf-8")


def measured(name: str, tiny: bool) -> Row:
    """What comes of a part: in a process of its own, but without a GPU there is none to share."""
    if DEVICE.type == "cpu":
        return PARTS[name](TINY)
    said, wrong = run([__file__, "--only", name, *(["--tiny"] if tiny else [])])
    return {"error": wrong} if wrong else json.loads(said.splitlines()[-1])


def run(arguments: Sequence[str], seconds: float = SECONDS) -> tuple[str, str | None]:
    """What Python says on stdout, given arguments; and the end of all it said if it failed."""
    command = [sys.executable, *arguments]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return "", f"not done in {seconds} seconds"
    said = f"{done.stdout}{done.stderr}".strip()[-_TOLD:]
    return done.stdout, (said or f"exit {done.returncode}") if done.returncode else None


if __name__ == "__main__":
    main()
