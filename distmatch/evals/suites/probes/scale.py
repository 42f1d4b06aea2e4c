"""A number on a scale, and the same scale the other way round."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from distmatch.errors import ConfigError
from distmatch.evals.metric import Metric
from distmatch.evals.suites.probes.probe import WHO, Probe, Probs, Question

_ENDS = ("{a}", "{b}")


@dataclass(frozen=True, kw_only=True)
class ScaleProbe(Probe):
    """The exact distribution over all whole numbers of a scale.

    Every paraphrase holds `{a}`, and maybe `{b}`; asked once as it stands and once with the two
    exchanged, which turns the scale around: "of 100 times, how often {a}?", or "0 is {b}, 100 is
    {a}". With x and x' the two expected values, the report is (x + low + high - x') / 2, and
    anchoring, the number that comes whatever is asked, (x + x' - low - high) / 2.
    """

    ends: tuple[str, str] | None = None
    """What `{a}` and `{b}` stand for; None: the scale isn't turned around, so that report and
    anchoring can't be told apart."""
    low: int = 0
    high: int = 100

    least: ClassVar[dict[str, int]] = {"low": -(10**4), "high": -(10**4)}

    def __post_init__(self) -> None:
        """See `Probe`.

        Raises:
            ConfigError: A scale that is none, or a paraphrase that can't be turned around.
        """
        super().__post_init__()
        if not self.low < self.high:
            raise ConfigError(
                f"{self.name} goes from {self.low} to {self.high}, expected low below high"
            )
        for field in ("asked", *WHO[1:]) if self.ends else ():
            for text in getattr(self, field):
                if _ENDS[0] not in text:
                    raise ConfigError(
                        f"{self.name}.{field}: {text!r} has no {_ENDS[0]}, so it can't be turned "
                        "around: write what is asked about as {a}, and its opposite as {b}"
                    )

    @property
    def figures(self) -> tuple[Metric, ...]:
        """The report, and what is none."""
        return (
            Metric("report", f"expected value from {self.low} to {self.high}, both ways round"),
            Metric("anchoring", "the number that comes whatever is asked; 0 is none"),
            Metric("spread", "standard deviation of the answer"),
            Metric("straight", "expected value as asked"),
            Metric("turned", "expected value with the ends exchanged"),
        )

    def questions(self, text: str) -> tuple[Question, ...]:
        """The paraphrase, and the one with the ends exchanged."""
        numbers = tuple((str(number),) for number in range(self.low, self.high + 1))
        if self.ends is None:
            return (Question(text, numbers),)
        return tuple(
            Question(text.replace(_ENDS[0], a).replace(_ENDS[1], b), numbers)
            for a, b in (self.ends, self.ends[::-1])
        )

    def measured(self, probs: Sequence[Probs]) -> dict[str, float]:
        """Expected values and spreads of both."""
        values = np.arange(self.low, self.high + 1)
        straight, *others = (float(p @ values) for p in probs)
        total = self.low + self.high
        turned = others[0] if others else np.nan
        variances = [float(p @ (values - p @ values) ** 2) for p in probs]
        return {
            "report": (straight + total - turned) / 2 if others else straight,
            "anchoring": (straight + turned - total) / 2,
            "spread": float(np.mean(np.sqrt(variances))),
            "straight": straight,
            "turned": turned,
        }
