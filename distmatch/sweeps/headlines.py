"""What a sweep maps: the numbers that say at one glance what a cell has learned.

*Copying* is how much less probability goes to none of the words than under the base. *Control* is
how much nearer the distribution over the words is to what is asked than that of the best policy
that can't read the numbers (TVD, renormalised). 0 or less is no better than that policy, which
a model that reads the numbers can be too, such as one that always says the likelier word. The
*slope* of the given on the asked probabilities tells these apart.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Metrics = Mapping[str, Any]
"""A report's metrics by name, as JSON has them."""


@dataclass(frozen=True, slots=True)
class Headline:
    """A number that is mapped; higher is better."""

    name: str
    """As tables, figures and files call it."""
    value: Callable[[Metrics, Metrics], float]
    """Of a model's metrics and its base's; NaN where no example tells."""
    label: str
    """What an axis says."""

    def of_base(self, base: Metrics) -> float:
        """What the base has of it itself."""
        return self.value(base, base)


def mean_of(metrics: Metrics, name: str) -> float:
    """One of a report's metrics; NaN where it says nothing, which JSON has as null."""
    value = metrics[name]["mean"]
    return math.nan if value is None else value


def _copying(metrics: Metrics, base: Metrics) -> float:
    return mean_of(base, "other") - mean_of(metrics, "other")


def _control(metrics: Metrics, base: Metrics) -> float:  # the best policy is the base's too
    return mean_of(metrics, "policy_tvd") - mean_of(metrics, "control_tvd")


COPYING = Headline("copying", _copying, "copying: probability of none of the words, below the base")
CONTROL = Headline("control", _control, "control: TVD below the best policy without the numbers")
"""What cells are ranked, compared and priced by, and learning rates chosen."""

MAPPED = (COPYING, CONTROL)
