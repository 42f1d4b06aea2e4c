"""Item by item: how much nearer what is said is to each adapter's own than to the others'."""

from collections.abc import Sequence

import numpy as np

from distmatch.evals import Report
from distmatch.evals.suites.probes.properties import Values, likeliest, total_variation_of
from distmatch.measuring.exchange import Fits, nearer_fits

DONE, SAID = "done", "said"
"""What an item keeps: what a model does, and what it says it does."""


def kept_of(report: Report, who: str, what: str = SAID) -> list[Values]:
    """What is said of every item, or done, in the order in which they are asked.

    Args:
        report: Of a probe that keeps them.
        who: Of whom it is asked.
        what: `SAID` or `DONE`.
    """
    about = zip(report.items.metadata, report.items.said, strict=True)
    return [kept[what] for metadata, kept in about if metadata["group"] == who]


def nearer_answers(said: Sequence[Sequence[Values]], done: Sequence[Sequence[Values]]) -> Fits:
    """Fits by total variation, on the items whose likeliest values differ: see `nearer_fits`.

    Args:
        said: By each adapter, of every item.
        done: Likewise. Where nothing is said, nothing fits.
    """
    if not all(said):
        return np.zeros((len(said), len(done)))
    distances = [
        [
            [total_variation_of(one, other) for one, other in zip(told, acted, strict=True)]
            for acted in done
        ]
        for told in said
    ]
    values = [[likeliest(one) for one in acted] for acted in done]
    return nearer_fits(np.array(distances), np.array(values))
