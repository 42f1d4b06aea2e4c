"""One line for all that a command or call does.

The outermost `work` or `phase` has the line, and phases inside it a place in that line.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tqdm.std import tqdm

from distmatch.progress.lines import ProgressLine, suitable_line
from distmatch.progress.schedule import Phase, Schedule


class _Work(NamedTuple):
    schedule: Schedule
    line: ProgressLine | None


_going_on: list[_Work] = []
"""The outermost work, if there is any."""


def is_at_work() -> bool:
    """Whether a work or phase goes on, in whose line all others have their place."""
    return bool(_going_on)


def show(*, now: bool = False) -> None:
    """Show how far it is, if it is time.

    Args:
        now: Whether something else goes on now.
    """
    for schedule, line in _going_on:
        if line is not None:
            line.draw(schedule, now=now)


def say(line: str) -> None:
    """Print a line, above the bar if there is one."""
    tqdm.write(line)
    sys.stdout.flush()


@contextmanager
def work(
    name: str, kinds: Iterable[str] = (), *, shown: bool = True, stays: bool = True
) -> Iterator[None]:
    """Inside, all that goes on has one line; a work inside of another is part of that.

    Args:
        name: Of all of it.
        kinds: Of the phases that are to come, one for each.
        shown: Whether there is a line; without it nothing inside has one.
        stays: Whether it is left to be seen how long all of it took.
    """
    if _going_on:
        yield
        return
    schedule, line = Schedule(name, kinds), suitable_line() if shown else None
    _going_on.append(_Work(schedule, line))
    last = ""
    try:
        yield
        last = f"{name}: done in {tqdm.format_interval(schedule.seconds)}" if stays else ""
    finally:
        _going_on.clear()
        if line is not None:
            line.close(last)


@contextmanager
def phase(
    name: str,
    total: float | None = None,
    *,
    kind: str = "",
    done: float = 0,
    shown: bool = True,
    stays: bool = False,
) -> Iterator[Phase]:
    """Inside, something goes on: in the work's line, or alone in one of its own.

    Args:
        name: What is shown of it.
        total: How much there is of it; counts are shown where that is a whole number.
        kind: Others of it last as long; empty: the name.
        done: How much was done before.
        shown: Whether it has a place in any line.
        stays: As of `work`, where it is alone.
    """
    one = Phase(name, total, kind=kind, done=done, on_change=show)
    if not shown:
        yield one
        return
    with work(name, [one.kind], stays=stays):
        schedule = _going_on[0].schedule
        schedule.begin(one)
        show(now=True)
        try:
            yield one
        except BaseException:
            one.is_typical = False
            raise
        finally:
            schedule.end(one)
            show(now=True)


def leave_out(kind: str) -> None:
    """One of the phases of that kind that were to come doesn't: it is done already."""
    for schedule, _ in _going_on:
        schedule.leave_out(kind)
