"""Whether the probe foretold what was gained: its ranks against those of the trained cells."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from distmatch.measuring.correlation import rank_correlation
from distmatch.models.lora import is_named
from distmatch.sweeps.findings import Finding
from distmatch.sweeps.probe import LOSSES, ProbeScore

ALL_SITES = "all sites"
"""What a probe's correlation over all sites together is called."""

_SCORES = {"squared_norm": "gradient norm", "fisher": "Fisher"}
_LEAST_RANKED = 3  # two cells are always in order, or in the opposite one


class Correlation(NamedTuple):
    """Spearman's, of the probe with what single blocks gained."""

    score: str
    """What the kind of score is called."""
    loss: str
    """One of `LOSSES`; what was gained is called the same."""
    site: str
    rank: int
    cells: int
    """How many it is over."""
    rank_correlation: float
    """NaN where all are alike, or too few have both."""


def probe_correlations(found: Sequence[Finding], scores: Sequence[ProbeScore]) -> list[Correlation]:
    """How the probe ranks single blocks, against what they gained.

    Args:
        found: What the cells say.
        scores: Of the probe.

    Returns:
        For each kind of score and loss: a row for each site and rank with three blocks or more,
        over these; and last, where sites share a rank, one over all their blocks together.
    """
    return [
        _correlation(kind, loss, place, some, scores)
        for kind in _SCORES
        for loss in LOSSES
        for place, some in _places(found, scores).items()
        if len(some) >= _LEAST_RANKED
    ]


def _places(
    found: Sequence[Finding], scores: Sequence[ProbeScore]
) -> dict[tuple[str, int], list[Finding]]:
    """Probed single blocks by site and rank, and last those of the rank that most sites share."""
    places: dict[tuple[str, int], list[Finding]] = {}
    for f in sorted(found, key=lambda f: (f.site, f.rank)):
        is_probed = not math.isnan(probed(f, scores, LOSSES[0], "squared_norm"))
        if f.is_single and is_probed:
            places.setdefault((f.site, f.rank), []).append(f)
    num_sites = Counter(rank for _, rank in places)
    shared, most = max(num_sites.items(), key=lambda item: item[1], default=(0, 0))
    if most > 1:
        together = [f for (_, rank), some in places.items() if rank == shared for f in some]
        places[ALL_SITES, shared] = together
    return places


def _correlation(
    kind: str,
    loss: str,
    place: tuple[str, int],
    found: Sequence[Finding],
    scores: Sequence[ProbeScore],
) -> Correlation:
    both = [(probed(f, scores, loss, kind), f.gains[loss].mean) for f in found]
    pairs = [pair for pair in both if not any(map(math.isnan, pair))]
    is_enough = len(pairs) >= _LEAST_RANKED
    rho = rank_correlation(*zip(*pairs, strict=True)) if is_enough else math.nan
    return Correlation(_SCORES[kind], loss, *place, len(pairs), rho)


def probed(finding: Finding, scores: Sequence[ProbeScore], loss: str, kind: str) -> float:
    """A cell's score: the sum over its matrices; NaN where none was probed.

    Args:
        finding: What the cell says.
        scores: Of the probe.
        loss: One of `probe.LOSSES`.
        kind: Which score: `squared_norm` or `fisher`.
    """
    words = [word.strip() for word in finding.site.split(",")]
    values = [
        getattr(score, kind)
        for score in scores
        if score.loss == loss
        and score.block in finding.numbers
        and any(is_named(word, score.kind, score.name) for word in words)
    ]
    return math.fsum(values) if values else math.nan
