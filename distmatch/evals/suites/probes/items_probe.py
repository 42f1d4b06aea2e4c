"""A question that is asked of several items, by a probe of each.

Paraphrases are the same for all items, but for what stands in them for `{text}`. What is said of an
item is the mean over its paraphrases, and an item counts once.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from distmatch.evals.subject import Subject
from distmatch.evals.suites.probes.behind_thoughts import BehindThoughts
from distmatch.evals.suites.probes.probe import OWN, REFERENT, Probe, said_in

TEXT = "{text}"
"""In a paraphrase, where the item's own text is to stand."""


class ToldOfItem(NamedTuple):
    """What was said of an item."""

    who: str
    number: int
    """The item's."""
    figures: dict[str, float]
    """Of its probe."""
    asked: list[dict[str, Any]]
    """Every paraphrase with its whole prompt, and the mass on each answer."""


@dataclass(frozen=True, kw_only=True)
class ItemsProbe(BehindThoughts):
    """A probe of every item, of itself and of somebody else."""

    name: str = "items"
    asked: tuple[str, ...]
    """Five paraphrases or more."""
    referent: tuple[str, ...] = ()
    """The same about somebody else."""
    system: str = ""
    begun: str = ""
    """The answer's own beginning; no space at its end."""

    compared: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Check what needs no model, by making every probe.

        Raises:
            ConfigError: No item, or a probe that can't be.
            DataError: A begun answer that ends in white space.
        """
        super().__post_init__()
        self.each()

    @abstractmethod
    def each(self) -> Sequence[Probe]:
        """A probe of each item."""

    def told(self, subject: Subject) -> list[ToldOfItem]:
        """What is said of every item, of itself first.

        Args:
            subject: Whoever is asked.
        """
        probes = self.each()
        found = [probe.items(subject) for probe in probes]
        return [
            ToldOfItem(
                who,
                number,
                {m.name: said_in(items, who, m.name) for m in probe.metrics},
                [
                    one
                    for about, said in zip(items.metadata, items.said, strict=True)
                    if about["group"] == who
                    for one in said["asked"]
                ],
            )
            for who in self._whom()
            for number, (probe, items) in enumerate(zip(probes, found, strict=True))
        ]

    def _whom(self) -> Iterator[str]:
        yield OWN
        if self.referent:
            yield REFERENT

    def _about(self, text: str) -> dict[str, Any]:
        """What the probe of an item with this text has in common with this one."""
        return {
            "name": self.name,
            "asked": tuple(one.replace(TEXT, text) for one in self.asked),
            "referent": tuple(one.replace(TEXT, text) for one in self.referent),
            "system": self.system,
            "begun": self.begun,
            "thinking": self.thinking,
            "thoughts": self.thoughts,
            "max_tokens": self.max_tokens,
        }
