"""Where it is shown how far something is: a bar in a terminal or a notebook, else lines."""

import io
import logging
import math
import sys
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm
from tqdm.std import tqdm

from distmatch.progress.schedule import Schedule, Standing

SECONDS_BETWEEN_LINES = 60.0
_SECONDS_BETWEEN_BARS = 0.1
_COLUMNS = 100  # of a bar in a notebook, whose width isn't known


class ProgressLine(ABC):
    """Where it is shown how far something is."""

    every: float
    """Seconds between two drawings, at least."""
    is_written_over: bool = True
    """Whether what is shown takes the place of what was, so that it may be shown at any time."""

    def __init__(self) -> None:
        self._drawn_at = -math.inf

    def draw(self, schedule: Schedule, *, now: bool = False) -> None:
        """Show how far it is, if it is time.

        Args:
            schedule: Of all of it.
            now: Whether something else goes on now.
        """
        is_due = time.monotonic() - self._drawn_at >= self.every
        if is_due or (now and self.is_written_over):
            self._drawn_at = time.monotonic()
            self.show(schedule.standing(), schedule.seconds)

    @abstractmethod
    def show(self, standing: Standing, seconds: float) -> None:
        """Show how far it is.

        Args:
            standing: That.
            seconds: Since it began.
        """

    @abstractmethod
    def close(self, last: str) -> None:
        """Show nothing any more but this; empty: nothing."""


class _Terminal(ProgressLine):
    """A bar below what is printed and logged meanwhile."""

    every = _SECONDS_BETWEEN_BARS

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        plain = [logging.root, logging.getLogger("transformers")]
        self._stack.enter_context(logging_redirect_tqdm(plain))
        self._bar = self._stack.enter_context(
            tqdm(total=1, bar_format=" ", dynamic_ncols=True, leave=False)
        )

    def show(self, standing: Standing, seconds: float) -> None:
        self._bar.bar_format, self._bar.n = _bar_format(standing), standing.share or 0
        self._bar.refresh()

    def close(self, last: str) -> None:
        self._stack.close()
        if last:
            _print(last)


class _Notebook(ProgressLine):
    """A bar in an output of its own, which is written over, so that one line is left of it."""

    every = 5 * _SECONDS_BETWEEN_BARS

    def __init__(self) -> None:
        super().__init__()
        self._place: Any = None

    def show(self, standing: Standing, seconds: float) -> None:
        bar_format = _bar_format(standing)
        share = standing.share or 0
        self._write(tqdm.format_meter(share, 1, seconds, ncols=_COLUMNS, bar_format=bar_format))

    def close(self, last: str) -> None:
        self._write(last)

    def _write(self, text: str) -> None:
        from IPython.display import display

        data = {"text/plain": text}
        if self._place is None:
            self._place = display(data, raw=True, display_id=True)
        else:
            self._place.update(data, raw=True)


class _Log(ProgressLine):
    """A line now and then."""

    is_written_over = False

    def __init__(self) -> None:
        super().__init__()
        self.every = SECONDS_BETWEEN_LINES
        self._drawn_at = self._began_at = time.monotonic()

    def show(self, standing: Standing, seconds: float) -> None:
        share = "" if standing.share is None else f"{math.floor(100 * standing.share)}%, "
        _print(f"{standing.text}: {share}{standing.times}")

    def close(self, last: str) -> None:
        if last and self._drawn_at > self._began_at:
            _print(last)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _bar_format(standing: Standing) -> str:
    """As tqdm takes it."""
    plain = standing.text, standing.times
    text, times = (part.replace("{", "{{").replace("}", "}}") for part in plain)
    bar = "" if standing.share is None else f"|{{bar}}| {math.floor(100 * standing.share):3}% "
    return f"{text} {bar}{times}"


def suitable_line() -> ProgressLine | None:
    """The one for where this process writes; None where tqdm is switched off."""
    if tqdm(total=0, file=io.StringIO()).disable:  # by TQDM_DISABLE
        return None
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and "IPKernelApp" in shell.config:
        return _Notebook()
    return _Terminal() if sys.stderr.isatty() else _Log()
