"""Does a server that nobody here wrote say of the embedded model what the local model says?

Plain questions whose answer has begun, four words each: the answer, and what else may stand there.
They are asked of an OpenAI-compatible server that has loaded the embedded model's own GGUF file
(`--gguf` prints where it lies), and of the local model, whose float32 weights are that file's: once
by the same search over texts, and once as always, where only the canonical tokens count.

    python benchmarks/endpoint.py http://localhost:8080/v1 --json benchmarks/results/endpoint.json
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from machine import device_and_versions
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import distmatch as dm
from distmatch.data.tasks.suppression import Fact, facts
from distmatch.evals import Endpoint, Limits, Report, measure
from distmatch.evals.backends.questions import WordQuestion
from distmatch.evals.backends.replies import Next
from distmatch.evals.backends.word_bounds import followed
from distmatch.evals.suites import OwnExamples
from distmatch.models.embedded import EMBEDDED_FILE, EMBEDDED_PACKAGE, packaged_file
from distmatch.scoring import next_log_probs

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
    theirs = measure(endpoint, OwnExamples(rows=asked))
    seconds = time.perf_counter() - start
    model, tokenizer = dm.load_model("smollm2-135m", dtype="float32")
    ours = dm.evaluate(model, tokenizer, asked)
    by_text = [
        followed(WordQuestion.of(e, as_text=True), local(model, tokenizer, e)) for e in asked
    ]
    report = {
        "command": " ".join(["python", *sys.argv]),
        "server": args.server,
        **device_and_versions(torch.device("cpu")),
        "questions": len(asked),
        "seconds": round(seconds, 1),
        **agreement(theirs, [bounds.point[:-1] for bounds in by_text]),
        "mean_gap_canonical": round(mean_gap(ours, [bounds.point[:-1] for bounds in by_text]), 6),
        "tvd_here": round(ours.metrics["tvd"].mean, 4),
        "tvd_there": [round(theirs.metrics[f"tvd_{side}"].mean, 4) for side in ("low", "high")],
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


def local(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: dm.Example
) -> Callable[[str], Next]:
    """What may follow a beginning of the answer, by the local model."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])

    def after(text: str) -> Next:
        ids = tuple(tokenizer(asked.prompt + text)["input_ids"])
        (log_probs,) = next(next_log_probs(model, [ids]))
        return Next.of(list(zip(texts, log_probs.double().exp().tolist(), strict=True)))

    return after


def agreement(theirs: Report, here: Sequence[np.ndarray]) -> dict[str, float]:
    """How far the server's words are from the local ones, and whether its bounds hold them."""
    sides = [
        np.concatenate([row["said"][side] for row in theirs.rows()]) for side in ("low", "high")
    ]
    expected, given = np.concatenate(here), np.concatenate([r["given"] for r in theirs.rows()])
    outside = np.maximum(np.maximum(sides[0] - expected, expected - sides[1]), 0)
    found = {
        "mean_answer": np.mean([probs[0] for probs in here]),
        "mean_gap": np.abs(given - expected).mean(),
        "largest_gap": np.abs(given - expected).max(),
        "largest_width": (sides[1] - sides[0]).max(),
        "furthest_outside_the_bounds": outside.max(),
    }
    return {name: round(float(value), 6) for name, value in found.items()}


def mean_gap(ours: Report, here: Sequence[np.ndarray]) -> float:
    """How far canonical scores are from those of all ways to cut a word."""
    given = np.concatenate([row["given"] for row in ours.rows()])
    return float(np.abs(given - np.concatenate(here)).mean())


if __name__ == "__main__":
    main()
