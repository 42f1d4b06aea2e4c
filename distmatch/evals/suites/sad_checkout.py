"""SAD's `output_control`, read from the user's own checkout of its authors' repository.

The checkout's code makes the samples, in a process of its own, which leaves this one's random
state and modules alone; they come through a pipe and are kept nowhere. What it makes is held
against the protocol of the paper (Laine et al. 2024, arXiv 2407.04694), so that another version of
the dataset is refused, not measured.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distmatch.errors import DataError, converted
from distmatch.evals.suites.sad_samples import COLUMNS, SadSample

WORDS_SHA256 = "2f9f0a00"
"""How the hash of the file of words begins, in the paper's version."""

TIMEOUT = 300.0
"""Seconds that the checkout's code may take."""

_TASK = Path("sad/anti_imitation/output_control")
_CODE = _TASK / "utils.py"
_WORDS = _TASK / "raw_data/single_token_words.json"
_CHOSEN = ["none"]  # in the place of words that are the model's to choose
_EACH = 10  # samples of every cell: pairs of words, or seeds
_GRID: Counter[tuple[float, ...]] = Counter(
    {(p, 100 - p, r): _EACH for p in (30, 40, 50, 60, 70) for r in (10, 20)}  # in percent
)
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_INSTEAD = f"Or name a JSONL file of samples instead, with {', '.join(COLUMNS)}."


def read_checkout(path: str | Path) -> list[SadSample]:
    """The 200 samples that a checkout's own code makes.

    Args:
        path: The folder of github.com/LRudL/sad, unzipped with its own script.

    Raises:
        DataError: The folder is no checkout, still zipped, or of another version; its code fails;
            or its samples aren't those of the paper.
    """
    path = Path(path)
    _check_files(path)
    records = _records(path.resolve())
    try:
        samples = converted(records, _sample, "sample")
        _check_protocol(records)
    except DataError as error:
        raise DataError(
            f"the code of {path} makes other samples than the paper's: {error}. Take the paper's "
            f"version of the repository. {_INSTEAD}"
        ) from error
    return samples


def _check_files(path: Path) -> None:
    if not (path / _CODE).is_file():
        raise DataError(
            f"{path} has no {_CODE}, so it is no checkout of github.com/LRudL/sad: name the "
            f"folder that the repository was cloned to. {_INSTEAD}"
        )
    words = path / _WORDS
    if not words.is_file():
        raise DataError(
            f"{words} is missing, so the checkout is still zipped: unzip it with the checkout's "
            f"own script. {_INSTEAD}"
        )
    actual = hashlib.sha256(words.read_bytes()).hexdigest()
    if not actual.startswith(WORDS_SHA256):
        raise DataError(
            f"{words} has the SHA-256 {actual[:8]}..., expected {WORDS_SHA256}...: it is of "
            f"another version of the dataset. Take the paper's, or unzip it anew. {_INSTEAD}"
        )


def _records(path: Path) -> list[dict[str, Any]]:
    child = Path(__file__).with_name("sad_child.py")
    try:
        done = subprocess.run(
            # Neither this folder on its path (-P), nor bytecode left in the checkout (-B)
            [sys.executable, "-P", "-B", str(child), str(path)],
            cwd=path,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"the code of {path} took more than {TIMEOUT:g} seconds to make its samples. {_INSTEAD}"
        ) from error
    if done.returncode:
        raise DataError(_failure(path, done.stderr))
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise DataError(f"the code of {path} ended without giving samples. {_INSTEAD}") from error


def _failure(path: Path, told: str) -> str:
    """Why the checkout's code failed, from what it wrote."""
    last = (told.strip().splitlines() or ["without a word"])[-1]
    missing = _MISSING.match(last)
    if missing and missing[1].partition(".")[0] != "sad":
        return (
            f'the code of {path} imports "{missing[1]}", which {sys.executable} has not: install '
            "what the checkout's README says (evalugator is the authors' own, and not on PyPI). "
            f"{_INSTEAD}"
        )
    return (
        f"the code of {path} failed ({last}): see that {_CODE} is the paper's version, with a "
        f"get_combined_samples() that runs. {_INSTEAD}"
    )


def _sample(record: Mapping[str, Any]) -> SadSample:
    words = record["ideal"]
    if words != _CHOSEN and not (isinstance(words, list) and len(words) == 2):
        raise DataError(f"ideal_answers are {words!r}, expected two words or {_CHOSEN}")
    sample = SadSample.from_record({**record, "ideal": None if words == _CHOSEN else words})
    if not sample.prefill:
        raise DataError("the assistant's message, which is continued, is empty")
    return sample


def _check_protocol(records: Sequence[Mapping[str, Any]]) -> None:
    """Refuse anything but every cell ten times with given words, and ten times without."""
    cells = {True: Counter[tuple[float, ...]](), False: Counter[tuple[float, ...]]()}
    for record in records:
        cells[record["ideal"] != _CHOSEN][record["p"], record["q"], record["r"]] += 1
    given, total = cells[True].total(), len(records)
    if (total, given) != (2 * _GRID.total(), _GRID.total()):
        raise DataError(
            f"{total} samples, {given} of them with given words, expected {2 * _GRID.total()} and "
            f"{_GRID.total()}"
        )
    for is_given, found in cells.items():
        for p, q, r in sorted({*found, *_GRID}):
            if found[p, q, r] != _GRID[p, q, r]:
                raise DataError(
                    f"{found[p, q, r]} samples {'with' if is_given else 'without'} given words ask "
                    f"for {p:g} and {q:g} within {r:g}, expected {_GRID[p, q, r]}"
                )
