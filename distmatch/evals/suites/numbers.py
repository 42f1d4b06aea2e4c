"""Numbers: are draws from a die, a binomial or a Poisson distribution distributed like them?

Beside the metrics of words, where outcomes have an order: how far, in steps of one outcome, what
is given lies from what is asked (Wasserstein-1, renormalised over the outcomes).
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from distmatch.data.examples import Example
from distmatch.data.tasks.numbers import Numbers
from distmatch.evals.items import Answers
from distmatch.evals.subject import Subject

_PER_KIND = 60


def measure(subject: Subject) -> Answers:
    """The model's answers to `examples`, with `wasserstein1` where they have an order."""
    answers = subject.answers(examples(subject.seed), "numbers")
    counts = [row["is_ordinal"] for row in answers.metadata] & np.isfinite(answers.given[:, 0])
    distances = np.where(counts, _distances(answers.given, answers.asked), 0.0)
    ratio = (distances, counts.astype(float))
    settings = tuple(row["setting"] for row in answers.metadata)
    return replace(answers, ratios={**answers.ratios, "wasserstein1": ratio}, clusters=settings)


def examples(seed: int = 0) -> list[Example]:
    """The suite's examples: held-out settings, each in every wording, up to 60 of a kind.

    Args:
        seed: Decides all that is drawn.
    """
    return [
        replace(example, metadata={**example.metadata, "group": example.metadata["kind"]})
        for example in Numbers().held_out(_PER_KIND, seed)
    ]


def _distances(
    given: Float[np.ndarray, "examples words"], asked: Float[np.ndarray, "examples words"]
) -> Float[np.ndarray, " examples"]:
    """Summed differences of the cumulative distributions; words that aren't there are NaN."""
    return np.abs(np.cumsum(np.nan_to_num(given - asked), axis=1)).sum(1)
