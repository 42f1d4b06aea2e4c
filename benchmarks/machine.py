"""How the benchmarks measure, and what with, for the results files."""

import ctypes
import json
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn

from distmatch.claims import locked
from distmatch.data.batching import Batch
from distmatch.data.trie import TokenIds
from distmatch.files import write_text
from distmatch.losses import WordLogProbs, forward_kl, support_log_probs, word_log_probs
from distmatch.measuring.kept_base import KeptBase
from distmatch.scoring import logits_and_text_states, score_batch


def device_and_versions(device: torch.device) -> dict[str, str]:
    """The device's name, and the versions that matter."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        capabilities = torch.cpu.get_capabilities()
        known = [name for name in ("avx512_bf16", "amx_bf16") if capabilities.get(name)]
        name = f"CPU, {torch.get_num_threads()} threads, {' '.join([platform.machine(), *known])}"
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    return {"device": name, "versions": versions}


def keep_line(path: Path, line: Mapping[str, object], by: Sequence[str]) -> None:
    """Put a line of results in the file, in place of an earlier one that is alike in these keys."""
    with locked(Path(tempfile.gettempdir(), "distmatch-benchmarks")):
        kept = []
        if path.is_file():
            kept = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
        kept = [one for one in kept if any(one[key] != line[key] for key in by)]
        write_text(path, "".join(json.dumps(one) + "\n" for one in [*kept, line]))


def training_step(
    adapted: nn.Module, batch: Batch, texts: Sequence[TokenIds] = ()
) -> Callable[[], None]:
    """A whole step to be measured: forward KL of the batch, backward, and AdamW's update.

    Args:
        adapted: The model in training.
        batch: On its device.
        texts: Ordinary ones that the batch holds as well, whose KL from the base is added.
    """
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-4)
    kept = KeptBase(texts)
    assert not texts or kept.takes_states(adapted), "the head can't be run by itself"

    def of_examples(scores: WordLogProbs) -> Tensor:
        return forward_kl(support_log_probs(scores, batch.is_free), batch.target).mean()

    def loss() -> Tensor:
        if not texts:
            return of_examples(score_batch(adapted, batch))
        logits, states = logits_and_text_states(adapted, batch)
        of_texts = kept.kl_of_states(adapted, texts, states).mean()
        return of_examples(word_log_probs(logits, batch)) + of_texts

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def medians_in_turns(steps: Mapping[str, Callable[[], object]], num: int) -> dict[str, float]:
    """Median milliseconds of each kind of step."""
    times = times_in_turns(steps, num)
    return {name: round(statistics.median(each), 1) for name, each in times.items()}


def times_in_turns(steps: Mapping[str, Callable[[], object]], num: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of step; turn by turn, so that noise hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(num):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1000 * (time.perf_counter() - start))
    return times


def peak_mb(run: Callable[[], object]) -> float:
    """The most memory the process holds during a run, weights included; Linux."""
    forget_peak()
    run()
    return peak_so_far_mb()


def forget_peak() -> float:
    """Let the peak begin at what is held now; that, in MB."""
    ctypes.CDLL(None).malloc_trim(0)  # what ran before has freed, the allocator may still hold
    Path("/proc/self/clear_refs").write_text("5")
    return peak_so_far_mb()


def peak_so_far_mb() -> float:
    """The most memory the process held since the peak was forgotten."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3  # type: ignore[index]
