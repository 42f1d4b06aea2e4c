"""Time as tests want it."""

from types import SimpleNamespace

import pytest

from distmatch.progress import lines, schedule


@pytest.fixture
def clock(monkeypatch):
    """Which stands still until its `now` is set."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(schedule, "time", clock)
    monkeypatch.setattr(lines, "time", clock)
    return clock
