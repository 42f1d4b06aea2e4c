"""What a command or call has to do, what goes on, and the time left.

Time left is measured, not foretold. A phase is taken to last as long as those of its kind that are
over, or else as its own counts say. As soon as each kind still to come has been seen, time left and
the share that is done are the whole's, in time; before that they are those of what is counted now,
and it says so.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import NamedTuple

from tqdm.std import tqdm


class Phase:
    """Something that goes on.

    Args:
        name: What is shown of it; may change.
        total: How much there is of it; counts are shown where that is a whole number.
        kind: Others of it last as long; empty: the name.
        done: How much was done before.
        on_change: Called whenever more of it is done.
    """

    def __init__(
        self,
        name: str,
        total: float | None = None,
        *,
        kind: str = "",
        done: float = 0,
        on_change: Callable[[], object],
    ) -> None:
        self.name, self.total, self.kind = name, total, kind or name
        self.at = self._first = done
        self._on_change = on_change
        self.told = ""
        """Shown behind the time left, such as a loss."""
        self.is_typical = True
        """Whether what it takes says how long others of its kind will."""
        self.counted_by: Phase | None = self if total else None
        """By what it is known how much is done: itself, or the phase inside of its kind's name."""
        self._began_at = self._moved_at = time.monotonic()

    def advance(self, by: float = 1) -> None:
        """So much more is done."""
        self.move_to(self.at + by)

    def move_to(self, at: float) -> None:
        """So much is done."""
        self.at, self._moved_at = at, time.monotonic()
        self._on_change()

    @property
    def share(self) -> float:
        """How much of it is done."""
        return self.at / self.total if self.total else 0.0

    @property
    def whole(self) -> float:
        """Seconds that all of it takes, by what it has done so far; NaN before that is anything."""
        if not self.total or self.at <= self._first:
            return math.nan
        return (self._moved_at - self._began_at) / (self.at - self._first) * self.total

    def left(self, whole: float) -> float:
        """Seconds until it is over, if all of it takes so many."""
        counted, now = self.counted_by, time.monotonic()
        if counted is None or not counted.total:
            return max(whole - (now - self._began_at), 0.0)
        next_one = min(now - counted._moved_at, whole / counted.total)  # as far as it is done
        return max(whole * (1 - counted.share) - next_one, 0.0)

    def lasted(self) -> float:
        """Seconds that all of it would have taken; NaN where nothing of it was done."""
        counted, lasted = self.counted_by, time.monotonic() - self._began_at
        if counted is None:
            return lasted
        return lasted - (counted._moved_at - counted._began_at) + counted.whole

    @property
    def counts(self) -> str:
        """Shown behind its name."""
        return f" {self.at:.0f}/{self.total}" if isinstance(self.total, int) else ""


class Standing(NamedTuple):
    """How far something is."""

    text: str
    """What goes on."""
    share: float | None
    """How much is done."""
    times: str
    """Time gone and left, and what is told besides."""


class Schedule:
    """What there is to do, what is over, and what goes on.

    Args:
        name: Of all of it.
        kinds: Of the phases that are to come, one for each.
    """

    def __init__(self, name: str, kinds: Iterable[str]) -> None:
        self.name = name
        self._to_come = [*kinds]
        self._num_planned = len(self._to_come)
        self._numbers: dict[Phase, int] = {}
        self._open: list[Phase] = []
        self._over: dict[str, list[float]] = defaultdict(list)
        self._began_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began_at

    def begin(self, phase: Phase) -> None:
        """It goes on from now on, inside of what goes on already."""
        if not self._open and phase.kind in self._to_come:
            self._to_come.remove(phase.kind)
            self._numbers[phase] = len(self._numbers) + 1
        elif self._open and phase.name == self._open[0].kind:
            self._open[0].counted_by = phase
        self._open.append(phase)

    def end(self, phase: Phase) -> None:
        """It is over."""
        self._open.remove(phase)
        lasted = phase.lasted()
        if not self._open and phase.is_typical and not math.isnan(lasted):
            self._over[phase.kind].append(lasted)

    def leave_out(self, kind: str) -> None:
        """One of its phases doesn't come: it is done already."""
        if kind in self._to_come:
            self._to_come.remove(kind)
            self._num_planned -= 1

    def standing(self) -> Standing:
        """As it is now."""
        seconds, left = self.seconds, self._left()
        counted = next((phase for phase in self._open if phase.total), None)
        if not math.isnan(left):
            return self._standing(seconds / max(seconds + left, 1e-9), left, "left")
        if counted is None:
            return self._standing(None, math.nan, "")
        return self._standing(counted.share, counted.left(counted.whole), "left of this")

    def _standing(self, share: float | None, left: float, of: str) -> Standing:
        told = next((phase.told for phase in reversed(self._open) if phase.told), "")
        times = [tqdm.format_interval(self.seconds)]
        if not math.isnan(left):
            times.append(f"{tqdm.format_interval(round(left))} {of}")
        return Standing(self._text, share, ", ".join([*times, told] if told else times))

    def _left(self) -> float:
        """Seconds until all of it is over; NaN until all of its kinds have been seen."""
        wholes = {kind: fmean(lasted) for kind, lasted in self._over.items()}
        left = 0.0
        if self._open:
            outer = self._open[0]
            if outer.counted_by is not None:
                wholes.setdefault(outer.kind, outer.counted_by.whole)
            left = outer.left(wholes.get(outer.kind, math.nan))
            if math.isnan(left) and outer not in self._numbers:
                left = 0.0  # it wasn't planned, so it is short
        return left + sum(wholes.get(kind, math.nan) for kind in self._to_come)

    @property
    def _text(self) -> str:
        if not self._open:
            return self.name
        outer, *inner = self._open
        number = ""
        if outer in self._numbers and self._num_planned > 1:
            number = f"[{self._numbers[outer]}/{self._num_planned}] "
        told = [f"{number}{outer.name}{outer.counts}"]
        for phase in inner:
            if phase.name == outer.kind or outer.name.endswith(f" {phase.name}"):
                told[0] += phase.counts
            elif phase.total or phase is inner[-1]:
                told.append(phase.name + phase.counts)
        return ", ".join(told)
