"""How a metric is read: in which direction it is better, and what it is held against."""

from collections.abc import Iterable
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """One that a suite measures."""

    name: str
    reading: str
    """What it says, in a few words."""
    better: str = ""
    """"lower" or "higher"; empty where neither is."""
    beside: str = ""
    """The metric it is held against: of the best policy that can't know."""
    is_detail: bool = False
    """Whether it is left out where groups are listed."""

    def __str__(self) -> str:
        """As tables have it."""
        return f"{self.better} is better; {self.reading}" if self.better else self.reading


WORD_METRICS = (
    Metric("tvd", "total variation from the asked, words and other", "lower", beside="policy_tvd"),
    Metric("tvd_low", "the least that bounds on the answers allow"),
    Metric("tvd_high", "the most that bounds on the answers allow"),
    Metric("forward_kl", "nats, words and other", "lower", is_detail=True),
    Metric("other", "probability of an answer that is none of the words"),
    Metric("control_tvd", "total variation over the words alone", "lower", beside="policy_tvd"),
    Metric("slope", "given on asked; 1 is perfect, 0 ignores the numbers"),
    Metric("swap_gap", "what stays with a word if numbers are swapped", "lower", is_detail=True),
    Metric("policy_tvd", "best fixed answer to all with as many words; control_tvd to beat"),
    Metric("within_0.05", "share of examples with a tvd within 0.05", "higher", is_detail=True),
    Metric("within_0.10", "share of examples with a tvd within 0.10", "higher"),
    Metric("within_0.20", "share of examples with a tvd within 0.20", "higher", is_detail=True),
)
"""Of whatever asks for a distribution over words; bounds are there for endpoints alone."""


def metrics_of(rows: Iterable[Any]) -> tuple[Metric, ...]:
    """Metrics as a saved report has them.

    Raises:
        TypeError: They aren't.
    """
    return tuple(Metric(*row) for row in rows)
