"""Numbers: are draws from a die, a binomial or a Poisson distribution distributed like them?

Beside the metrics of words, where outcomes have an order: how far, in steps of one outcome, what
is given lies from what is asked (Wasserstein-1, renormalised over the outcomes).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from distmatch.data import tasks
from distmatch.data.examples import Example
from distmatch.evals.items import Answers
from distmatch.evals.metric import WORD_METRICS, Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suite import Suite


@dataclass(frozen=True, kw_only=True)
class Numbers(Suite):
    """The suite `numbers`."""

    name: ClassVar[str] = "numbers"
    question: ClassVar[str] = (
        "Does it draw from a coin, a die, a binomial or a Poisson distribution as it should?"
    )
    metrics: ClassVar[tuple[Metric, ...]] = (
        *WORD_METRICS,
        Metric("wasserstein1", "steps between neighbouring outcomes", "lower"),
    )
    per_kind: int = 60
    """Examples of each kind of distribution, at most."""

    def items(self, subject: Subject) -> Answers:
        """The subject's answers to `examples`, with `wasserstein1` where they have an order."""
        answers = subject.answers(self.examples(subject.seed), self.name)
        counts = [row["is_ordinal"] for row in answers.metadata] & np.isfinite(answers.given[:, 0])
        distances = np.where(counts, _distances(answers.given, answers.asked), 0.0)
        ratio = (distances, counts.astype(float))
        settings = tuple(row["setting"] for row in answers.metadata)
        return replace(answers, ratios={**answers.ratios, "wasserstein1": ratio}, clusters=settings)

    def examples(self, seed: int = 0) -> list[Example]:
        """What is asked: held-out settings, each in every wording.

        Args:
            seed: Decides all that is drawn.
        """
        return [
            replace(example, metadata={**example.metadata, "group": example.metadata["kind"]})
            for example in tasks.Numbers().held_out(self.per_kind, seed)
        ]


def _distances(
    given: Float[np.ndarray, "examples words"], asked: Float[np.ndarray, "examples words"]
) -> Float[np.ndarray, " examples"]:
    """Summed differences of the cumulative distributions; words that aren't there are NaN."""
    return np.abs(np.cumsum(np.nan_to_num(given - asked), axis=1)).sum(1)
