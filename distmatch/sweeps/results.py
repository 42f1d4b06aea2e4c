"""What came of each cell: a line of results each, only ever added."""

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from distmatch.sweeps.cells import Cell
from distmatch.sweeps.folder import RESULTS_FILE
from distmatch.sweeps.headlines import Metrics
from distmatch.sweeps.sets import Sets


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What training a cell took."""

    steps: int
    train_seconds: float
    peak_memory_gb: float
    flops: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What a trained cell says."""

    metrics: Sets[Metrics]
    kl: float
    """KL(base || adapted) on ordinary texts, nats a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a cell: its measures, or why there are none."""

    cell: Cell
    config_hash: str
    """Of all that it depends on."""
    versions: Mapping[str, str]
    device: str
    training: Training | None = None
    """None: it failed before its end."""
    measures: Measures | None = None
    failed: str | None = None
    """The reason; None: it has measures."""
    seconds: float | None = None
    """All that it took; None: it failed."""

    @classmethod
    def from_json(cls, content: Any) -> "Result":
        """A line's result.

        Args:
            content: As `to_json` made it.

        Raises:
            ValueError: It isn't called as its cell, or has neither measures nor a reason.
            KeyError: Something is missing.
            TypeError: Something is of another kind.
            AttributeError: The same.
        """
        cell = _read_as(Cell, content)
        if content["cell"] != cell.name:
            raise ValueError(f"{content['cell']} is another cell than {cell.name}")
        measures, failed = _measures(content), content.get("failed")
        if measures is None and failed is None:
            raise ValueError(f"{cell.name} has neither metrics nor a reason why there are none")
        return cls(
            cell=cell,
            config_hash=content["config_hash"],
            versions=content["versions"],
            device=content["device"],
            training=_read_as(Training, content) if measures or "steps" in content else None,
            measures=measures,
            failed=None if measures else failed,
            seconds=content.get("seconds"),
        )

    def to_json(self) -> dict[str, Any]:
        """As its line has it."""
        content = {"cell": self.cell.name, **asdict(self.cell), "config_hash": self.config_hash}
        content |= {"versions": dict(self.versions), "device": self.device}
        if self.training is not None:
            content |= asdict(self.training)
        if self.measures is not None:
            content |= {"metrics": self.measures.metrics.named(), "kl": self.measures.kl}
        rest = {"failed": self.failed, "seconds": self.seconds}
        return content | {name: value for name, value in rest.items() if value is not None}


def read_results(folder: Path) -> tuple[dict[str, Result], list[str]]:
    """The finished cells by name, and what is wrong with lines passed over.

    Of several lines of a cell the first counts that didn't fail, else the last.

    Args:
        folder: The sweep's.

    Returns:
        What came of cells; and a sentence for each line that is no result.
    """
    path = folder / RESULTS_FILE
    found: dict[str, Result] = {}
    wrong: list[str] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            result = Result.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            wrong.append(
                f"{path}:{number} is not a result called as its cell, and is passed over; "
                "its cell runs again"
            )
            continue
        name = result.cell.name
        if name not in found or found[name].measures is None:
            found[name] = result
    return found, wrong


def append_result(folder: Path, result: Result) -> None:
    """Add a line, whole or not at all; what other processes and killed ones wrote stays.

    Where another process has finished the cell meanwhile, its line is enough.

    Args:
        folder: The sweep's.
        result: What came of a cell.

    Raises:
        OSError: It can't be written, such as on a full disk; the file is as it was.
    """
    line = json.dumps(result.to_json(), allow_nan=False).encode() + b"\n"
    with (folder / RESULTS_FILE).open("ab+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        there = read_results(folder)[0].get(result.cell.name)
        if there is not None and there.measures is not None:
            return
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line  # after what a kill cut off
        try:
            while line:  # a disk that fills up takes a part
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(size)
            raise


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n") if path.exists() else []


def _measures(content: Mapping[str, Any]) -> Measures | None:
    if "metrics" not in content:
        return None
    return Measures(metrics=Sets.from_named(content["metrics"]), kl=content["kl"])


def _read_as(kind: type[Any], content: Mapping[str, Any]) -> Any:
    """A flat dataclass of what of the content is its own."""
    return kind(**{field.name: content[field.name] for field in fields(kind)})
