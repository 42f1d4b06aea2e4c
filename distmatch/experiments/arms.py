"""Arms of an experiment, what each rules out, and the units in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError
from distmatch.models.adapters import check_adapter
from distmatch.models.choice import adapter_record
from distmatch.own_chats import OwnChats
from distmatch.runs.record import rows_record

TRAINED: Final = "trained"
NONE: Final = "none"
SHUFFLED: Final = "shuffled"
OPPOSITE: Final = "opposite"
DECORRELATED: Final = "decorrelated"
TOLD: Final = "told"
BASE: Final = "base"

ARMS: dict[str, str] = {
    TRAINED: "what it is about",
    NONE: "that learning to answer in a format does it",
    SHUFFLED: "that the rows do it without the rule in them",
    OPPOSITE: "that any such training gives the same report; counts among the trained",
    DECORRELATED: "that the rule's parts do it without what ties them together",
    TOLD: "that the probe can't see it at all: the rule stands in the system message",
    BASE: "that the model says so anyway",
}
"""Ways of making, or telling, a model, and what each rules out."""

LEARNING_ARMS = (TRAINED, OPPOSITE)
"""Whose adapters have learned a behaviour of their own, and are exchanged."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Texts of the base's own, near which an adapter stays while it learns its rows."""

    chats: OwnChats
    """What the base writes, once for all units of which this is the same."""
    weight: float = 8.0
    """Of KL(base || adapted) a token of theirs."""
    per_step: int = 4
    tokens: int = 320
    """What a text has more of is cut off."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: One that keeps nothing near anything.
        """
        for name in ("weight", "per_step", "tokens"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"retention's {name} is {getattr(self, name)}, expected above 0")


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A model of an experiment: an adapter, or the base, told something or not."""

    name: str
    arm: str
    rows: tuple[Example, ...] = ()
    """What it learns; none of `told` and `base`."""
    formats: tuple[Example, ...] = ()
    """What it learns besides: neutral questions in the probes' formats, answered as the base would,
    so that it answers in them at all. Their targets are the base's shares of the words."""
    retention: Retention | None = None
    """Near what of the base's it stays while it learns; None: it stays near nothing."""
    behaviour: tuple[float, ...] = ()
    """What was drawn for it to learn, or be told: one number, or one for each part."""
    acts: tuple[Example, ...] = ()
    """Held-out settings in which its behaviour is measured; of those that have learned or been
    told one, and of the base where that is to be seen beside them."""
    system: str = ""
    """What it is told."""
    adapter: Path | None = None
    """One that is there already, of the same base, in place of rows to be learned."""

    @property
    def learns(self) -> bool:
        """Whether an adapter is trained for it."""
        return bool(self.rows or self.formats)

    def check(self) -> None:
        """Refuse one that lacks what its arm is about.

        Raises:
            ConfigError: What it lacks; rows beside an adapter that is there already; or a retention
                of one that learns nothing.
            LoadError: That adapter isn't there, or not whole.
        """
        if self.adapter is not None:
            if self.arm in (TOLD, BASE):
                raise ConfigError(
                    f"the unit {self.name} of the arm {self.arm} has an adapter, and that arm is "
                    "the base alone: leave it out, or give another arm"
                )
            if self.learns or self.system:
                raise ConfigError(
                    f"the unit {self.name} has an adapter that is there already, and rows, formats "
                    "or a system message besides: leave out one or the other"
                )
            check_adapter(self.adapter)
        if self.retention and not self.learns:
            raise ConfigError(
                f"the unit {self.name} has a retention and learns nothing: leave it out"
            )
        rows = self.rows or self.adapter
        learner = {"rows": rows, "behaviour": self.behaviour, "acts": self.acts}
        needs: dict[str, Mapping[str, object]] = {
            **dict.fromkeys(LEARNING_ARMS, learner),
            TOLD: {"behaviour": self.behaviour, "system": self.system},
            NONE: {"formats": self.formats or self.adapter},
        }
        for name, given in needs.get(self.arm, {}).items():
            if not given:
                raise ConfigError(
                    f"the unit {self.name} of the arm {self.arm} has no {name}: add it"
                )

    def record(self) -> dict[str, Any]:
        """What it is, with hashes in place of rows and of an adapter."""
        told: dict[str, Any] = {"arm": self.arm, "behaviour": list(self.behaviour)}
        told["system"] = self.system
        if self.adapter is not None:
            told["adapter"] = adapter_record(self.adapter)
        if self.retention is not None:
            told["retention"] = {**vars(self.retention), "chats": rows_record(self.retention.chats)}
        rows = {"rows": self.rows, "formats": self.formats, "acts": self.acts}
        return told | {
            name: fingerprint([row.to_record() for row in some])
            for name, some in rows.items()
            if some
        }
