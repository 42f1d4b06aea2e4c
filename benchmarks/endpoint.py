"""Does a server that nobody here wrote say of the embedded model what the local model says?

Plain questions whose answer has begun, four words each: the answer, and what else may stand there.
They are asked of an OpenAI-compatible server that has loaded the embedded model's own GGUF file
(`--gguf` prints where it lies), and of the local model, whose float32 weights are that file's.

    python benchmarks/endpoint.py http://localhost:8080/v1 --json benchmarks/results/endpoint.json
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from machine import device_and_versions

import distmatch as dm
from distmatch.data.tasks.suppression import Fact, facts
from distmatch.evals import Endpoint, Limits, Report
from distmatch.models.embedded import EMBEDDED_FILE, EMBEDDED_PACKAGE, packaged_file

ELSE = ("the", "a", "not")


def main() -> None:
    """Ask both, print how they agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("url", nargs="?", default="http://localhost:8080/v1")
    parser.add_argument("--gguf", action="store_true", help="print the file's place, ask nothing")
    parser.add_argument("--server", default="", help="its name and version, for the results")
    parser.add_argument("--top-k", type=int, default=100)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.gguf:
        print(packaged_file(EMBEDDED_PACKAGE, EMBEDDED_FILE))
        return
    known = facts()
    asked = [example(fact) for fact in known[:: -(-len(known) // args.questions)]]
    endpoint = Endpoint(
        model="smollm2-135m",
        url=args.url,
        api="completions",
        top_k=args.top_k,
        limits=Limits(parallel=1, timeout=600),
    )
    start = time.perf_counter()
    theirs = dm.evaluate(endpoint, examples=asked)
    seconds = time.perf_counter() - start
    model, tokenizer = dm.load_model("smollm2-135m", dtype="float32")
    ours = dm.evaluate(model, tokenizer, asked)
    report = {
        "command": " ".join(["python", *sys.argv]),
        "server": args.server,
        **device_and_versions(torch.device("cpu")),
        "questions": len(asked),
        "seconds": round(seconds, 1),
        **agreement(theirs, ours),
    }
    print(json.dumps(report, indent=2))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def example(fact: Fact) -> dm.Example:
    """A question whose answer has begun, as plain text."""
    words = (fact.answer, *(word for word in ELSE if word != fact.answer))
    return dm.Example(
        prompt=f"{fact.question} {fact.beginning}",
        target=dm.WordDistribution(words, (1.0,) + (0.0,) * (len(words) - 1)),
    )


def agreement(theirs: Report, ours: Report) -> dict[str, float]:
    """How far the server's words are from the local ones, and whether its bounds hold them."""
    gaps, widths, outside, answers = [], [], [], []
    for their, our in zip(theirs.rows(), ours.rows(), strict=True):
        low, high = (np.array(their["said"][side]) for side in ("low", "high"))
        expected = np.array(our["given"])
        gaps.append(np.abs(np.array(their["given"]) - expected))
        outside.append(np.maximum(np.maximum(low - expected, expected - high), 0))
        widths.append(high - low)
        answers.append(expected[0])
    return {
        "mean_answer": round(float(np.mean(answers)), 4),
        "largest_gap": round(float(np.concatenate(gaps).max()), 6),
        "mean_gap": round(float(np.concatenate(gaps).mean()), 6),
        "largest_width": round(float(np.concatenate(widths).max()), 6),
        "furthest_outside_the_bounds": round(float(np.concatenate(outside).max()), 6),
        "tvd_here": round(ours.metrics["tvd"].mean, 4),
        "tvd_there_low": round(theirs.metrics["tvd_low"].mean, 4),
        "tvd_there_high": round(theirs.metrics["tvd_high"].mean, 4),
    }


if __name__ == "__main__":
    main()
