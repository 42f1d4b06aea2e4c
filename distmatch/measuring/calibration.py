"""Asked and given probabilities → what a calibration figure shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from distmatch.measuring.intervals import Ratios, clustered, intervals
from distmatch.measuring.metrics import centred_slope

_NUM_BINS = 10
_FEWEST_IN_BIN = 3


@dataclass(frozen=True, eq=False)
class Calibration:
    """Given beside asked probabilities, renormalised over the words, and what they come to."""

    asked: Float[np.ndarray, "examples words"]
    """NaN where there is no word, or nothing is said about control."""
    given: Float[np.ndarray, "examples words"]
    bins: Float[np.ndarray, "bins 4"]
    """Of each tenth of asked with enough words: mean asked, mean given, the latter's interval."""
    slope: float
    """NaN where nothing else than 1/K is asked."""
    control_tvd: float
    other: float | None
    """Mean probability of none of the words; None where not known."""

    @classmethod
    def of(
        cls,
        asked: Float[np.ndarray, "examples words"],
        given: Float[np.ndarray, "examples words"],
        other: Float[np.ndarray, " examples"] | None = None,
        *,
        clusters: Sequence[str] = (),
        num_resamples: int = 1000,
        seed: int = 0,
    ) -> "Calibration":
        """The calibration of plain arrays, with bootstrap intervals over examples.

        Args:
            asked: Renormalised over the words; NaN where there is no word.
            given: What the model gives, likewise.
            other: The model's probability of none of the words.
            clusters: Of each example; those of one are resampled together. Empty: each alone.
            num_resamples: How often.
            seed: Of the resampling.
        """
        is_drawn = np.isfinite(asked) & np.isfinite(given)
        centres, in_bins = _bins(asked, given, is_drawn)
        ratios = clustered({**in_bins, **_control(asked, given, is_drawn)}, clusters)
        found = intervals(ratios, num_resamples, seed)
        bins = [[centre, *found[name]] for name, centre in centres.items()]
        return cls(
            asked,
            given,
            np.array(bins, dtype=float).reshape(-1, 4),
            slope=found["slope"].mean,
            control_tvd=found["control_tvd"].mean,
            other=None if other is None else float(np.mean(other)),
        )


def _bins(
    asked: Float[np.ndarray, "examples words"],
    given: Float[np.ndarray, "examples words"],
    is_drawn: Bool[np.ndarray, "examples words"],
) -> tuple[dict[str, float], Ratios]:
    """Mean asked of each bin with enough words, and its mean given as a ratio over examples."""
    bins = np.minimum(np.where(is_drawn, asked, 0) * _NUM_BINS, _NUM_BINS - 1).astype(int)
    members = {f"bin {index}": is_drawn & (bins == index) for index in range(_NUM_BINS)}
    members = {name: some for name, some in members.items() if some.sum() >= _FEWEST_IN_BIN}
    centres = {name: float(asked[some].mean()) for name, some in members.items()}
    return centres, {
        name: (np.where(some, given, 0).sum(1), some.sum(1).astype(float))
        for name, some in members.items()
    }


def _control(
    asked: Float[np.ndarray, "examples words"],
    given: Float[np.ndarray, "examples words"],
    is_drawn: Bool[np.ndarray, "examples words"],
) -> Ratios:
    had, wanted = (np.where(is_drawn, part, 0).astype(float) for part in (given, asked))
    counts = is_drawn.any(1)
    slope = centred_slope(*map(torch.from_numpy, (had, wanted, is_drawn, counts)))
    return {
        "slope": (slope.numerator.numpy(), slope.denominator.numpy()),
        "control_tvd": (np.abs(had - wanted).sum(1) / 2, counts.astype(float)),
    }
