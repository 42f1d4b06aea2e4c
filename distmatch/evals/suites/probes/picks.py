"""Which of two texts: asked of many pairs, without what the model gives a letter or a place."""

from collections.abc import Sequence
from dataclasses import dataclass

from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suites.probes.items_probe import ItemsProbe
from distmatch.evals.suites.probes.options import OptionsProbe
from distmatch.evals.suites.probes.probe import VALID, Probe, ratios_of


@dataclass(frozen=True, kw_only=True)
class PicksProbe(ItemsProbe):
    """The probability with which the first of each pair is picked; which is right isn't known here.

    What it keeps as said is that of both.
    """

    pairs: tuple[tuple[str, str], ...]
    """Shown in both orders and under both letters."""
    question: str = "Which of two texts does it pick?"
    closing: str = "Answer with the letter alone."

    def each(self) -> Sequence[Probe]:
        """Options of each pair.

        Raises:
            ConfigError: There are no pairs; and see `OptionsProbe`.
        """
        if not self.pairs:
            raise ConfigError(f"{self.name} has no pairs: give at least one")
        return [
            OptionsProbe(
                **self._about(""),
                options=dict(zip(("first", "second"), pair, strict=True)),
                closing=self.closing,
            )
            for pair in self.pairs
        ]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is picked, and how clearly."""
        return (
            Metric("first", "probability of the first, letters and places taken out"),
            Metric("decided", "twice how far that is from one half"),
            Metric(VALID, "mass on valid answers; no report below one half"),
        )

    def items(self, subject: Subject) -> Items:
        """A pair an item."""
        told = self.told(subject)
        return Items(
            metadata=tuple({"group": who, "pair": number} for who, number, *_ in told),
            ratios=ratios_of(
                [
                    {
                        "first": figures["first"],
                        "decided": abs(2 * figures["first"] - 1),
                        VALID: figures[VALID],
                    }
                    for _, _, figures, _ in told
                ]
            ),
            prompts=tuple("\n".join(self.pairs[number]) for _, number, *_ in told),
            clusters=tuple(f"pair {number}" for _, number, *_ in told),
            said=tuple(
                {"said": {name: figures[name] for name in ("first", "second")}, "asked": asked}
                for _, _, figures, asked in told
            ),
        )
