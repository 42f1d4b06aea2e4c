"""A suite: a question asked of a subject, as a value.

One of your own is a frozen dataclass that derives from `Suite`: it says what it measures and what
it needs of a subject, its settings are its fields, and `items` asks.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import WORD_METRICS, Metric
from distmatch.evals.report import Report
from distmatch.evals.subject import Capability, Subject


@dataclass(frozen=True, kw_only=True)
class Suite(ABC):
    """A question, and how it is asked."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called."""

    @property
    @abstractmethod
    def question(self) -> str:
        """In one sentence."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The headline first."""
        return WORD_METRICS

    @property
    def needs(self) -> frozenset[Capability]:
        """What whoever is asked has to be able to do."""
        return frozenset({Capability.WORDS})

    @property
    def draws_text(self) -> bool:
        """Whether the subject writes, which may depend on how many prompts are answered at once."""
        return False

    compared: ClassVar[tuple[str, ...]] = ("tvd", "control_tvd")
    """The metrics by which lists of models are read; none where models are asked differently."""
    least: ClassVar[Mapping[str, int]] = {}
    """Of whole numbers among the settings, where it isn't 1."""
    version: ClassVar[int] = 1
    """Another one where the same settings would ask or count something else."""

    def __post_init__(self) -> None:
        """Refuse numbers that ask for nothing.

        Raises:
            ConfigError: A whole number below 1.
        """
        for one in fields(self):
            value = getattr(self, one.name)
            if one.type is int and value < self.least.get(one.name, 1):
                raise ConfigError(
                    f"{self.name}.{one.name} is {value}, expected at least "
                    f"{self.least.get(one.name, 1)}"
                )

    @abstractmethod
    def items(self, subject: Subject) -> Items:
        """What was asked, and what counts towards each metric; metadata of every item has `group`.

        Args:
            subject: Whatever is asked; its `seed` decides all that is drawn.
        """

    def check(self) -> None:  # noqa: B027 - most have nothing to check
        """Refuse what is missing or can't be used, before any model is loaded.

        Raises:
            DistmatchError: What that is.
        """

    def inputs(self) -> dict[str, str]:
        """What the items depend on besides the settings, such as a hash of a file it read."""
        return {}

    def record(self) -> dict[str, Any]:
        """All that the suite's items depend on besides the subject, as plain JSON."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = json.loads(json.dumps(given, default=str))
        return {"version": self.version, **plain, **self.inputs()}


def check_suites(suites: Iterable[Suite], capabilities: frozenset[Capability]) -> None:
    """Refuse suites that can't be asked, before anything is.

    Args:
        suites: To be asked.
        capabilities: Of whoever is asked.

    Raises:
        ConfigError: Which suite needs what that isn't there; or no suite, or one of a name twice.
        DistmatchError: What a suite's own `check` refuses.
    """
    suites = tuple(suites)
    if not suites:
        raise ConfigError("there is nothing to measure: name a suite")
    names = [suite.name for suite in suites]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two suites are called {twice[0]}: measure each in a folder of its own")
    for suite in suites:
        lacking = [one.value for one in Capability if one in suite.needs - capabilities]
        if lacking:
            raise ConfigError(
                f"{suite.name} can't be asked here: it needs {' and '.join(lacking)}, which this "
                "model doesn't have. Leave it out, or ask a model that has"
            )
        suite.check()


def measure(subject: Subject, suite: Suite, *, num_resamples: int = 1000) -> Report:
    """What a subject answers to a suite, as a report with intervals.

    Args:
        subject: A `LocalModel`, an `Endpoint`, or one of your own.
        suite: Such as `Given(per_group=10)`, or `SUITES["given"]`.
        num_resamples: How often the items are resampled for the intervals.

    Raises:
        ConfigError: The subject lacks what the suite needs; by name, before anything is asked.
        DistmatchError: What suite or subject refuse.
    """
    check_suites([suite], subject.capabilities)
    return Report.of(
        suite.items(subject), suite.metrics, num_resamples=num_resamples, seed=subject.seed
    )
