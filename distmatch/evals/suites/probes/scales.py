"""Several numbers on one scale, each with the same scale the other way round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from distmatch.errors import ConfigError
from distmatch.evals.metric import Metric
from distmatch.evals.suites.probes.probe import VALID, Probe, Probs, Question
from distmatch.evals.suites.probes.scale import ScaleProbe

_BESIDE = ("anchoring", "spread")


@dataclass(frozen=True, kw_only=True)
class ScalesProbe(Probe):
    """A `ScaleProbe` for each of several parts, asked in the same words.

    Every paraphrase is asked of every part, as it stands and with the part's ends exchanged; its
    figures are the reports of all parts, so that one contrast can be of their order.
    """

    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By name what `{a}` and `{b}` stand for."""
    low: int = -10
    high: int = 10

    least: ClassVar[dict[str, int]] = ScaleProbe.least

    def __post_init__(self) -> None:
        """See `Probe`.

        Raises:
            ConfigError: Fewer than two parts, a name that is taken; and see `ScaleProbe`.
        """
        super().__post_init__()
        if len(self.parts) < 2:
            raise ConfigError(
                f"{self.name}.parts has {len(self.parts)} parts, expected two or more: of one, "
                "use a ScaleProbe"
            )
        if taken := {VALID, *_BESIDE} & set(self.parts):
            raise ConfigError(f"{self.name}.parts: none can be called {taken.pop()}")
        self._scales()

    @property
    def figures(self) -> tuple[Metric, ...]:
        """The report of each part, and what is none."""
        reading = f"expected value from {self.low} to {self.high}, both ways round"
        return (
            *(Metric(part, reading) for part in self.parts),
            Metric("anchoring", "the number that comes whatever is asked, over parts; 0 is none"),
            Metric("spread", "standard deviation of an answer, over parts"),
        )

    def questions(self, text: str) -> tuple[Question, ...]:
        """Of each part the paraphrase, and the one with the ends exchanged."""
        return tuple(one for scale in self._scales() for one in scale.questions(text))

    def measured(self, probs: Sequence[Probs]) -> dict[str, float]:
        """The report of each part; anchoring and spread as means."""
        pairs = zip(probs[::2], probs[1::2], strict=True)
        each = [scale.measured(pair) for scale, pair in zip(self._scales(), pairs, strict=True)]
        reports = dict(zip(self.parts, (one["report"] for one in each), strict=True))
        return reports | {name: float(np.mean([one[name] for one in each])) for name in _BESIDE}

    def _scales(self) -> list[ScaleProbe]:
        return [
            ScaleProbe(
                name=self.name,
                asked=self.asked,
                referent=self.referent,
                reader=self.reader,
                shown=self.shown,
                ends=ends,
                low=self.low,
                high=self.high,
                fewest=self.fewest,
            )
            for ends in self.parts.values()
        ]
