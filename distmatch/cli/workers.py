"""The same command in several processes, each with its share of the cores.

For small models, which gain little from threads, and for much to do: each loads its own model. They
find out among themselves who does what.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from distmatch.errors import ConfigError, DistmatchError

_START = "import sys; from distmatch.cli import main; sys.exit(main())"


class WorkerError(DistmatchError):
    """A worker that ended with an error."""


def run_workers(arguments: Sequence[str], num: int, logs: Path) -> None:
    """Run the command in several processes, and wait for all of them.

    What the first one says on stderr is shown, its bars among it; all else that they say is left in
    `worker-N.log`. What ends this process ends all of them.

    Args:
        arguments: Of the command line, behind `distmatch`.
        num: How many processes.
        logs: The folder of their logs.

    Raises:
        WorkerError: Some ended with an error; the others went on to the end.
    """
    logs.mkdir(parents=True, exist_ok=True)
    paths = [logs / f"worker-{number}.log" for number in range(1, num + 1)]
    workers: list[subprocess.Popen] = []
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for path in paths:
            with path.open("w", encoding="utf-8") as log:
                shown = None if path is paths[0] else subprocess.STDOUT
                worker = subprocess.Popen(
                    [sys.executable, "-c", _START, *arguments],
                    stdout=log,
                    stderr=shown,
                    env=_environment(num),
                    start_new_session=True,  # an interrupt is told by one process, this one
                )
            workers.append(worker)
        codes = [worker.wait() for worker in workers]
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    failed = [path for path, code in zip(paths, codes, strict=True) if code]
    if failed:
        raise WorkerError("; ".join(_failure(path, shown=path is paths[0]) for path in failed))


def check_workers(num: int) -> None:
    """Refuse a number of processes that makes no sense here.

    Raises:
        ConfigError: Fewer than one, or more than there are cores.
    """
    cores = os.cpu_count() or 1
    if not 1 <= num <= cores:
        raise ConfigError(f"--workers is {num}, expected 1 to {cores}, the number of cores here")


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _environment(num: int) -> Mapping[str, str]:
    share = max(1, (os.cpu_count() or 1) // num)
    return {**os.environ, "OMP_NUM_THREADS": str(share), "OMP_WAIT_POLICY": "PASSIVE"}


def _failure(log: Path, *, shown: bool) -> str:
    if shown:
        return f"{log.stem} ended with an error: see above"
    last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    return f"{log.stem} ended with an error ({last}): see {log}"
