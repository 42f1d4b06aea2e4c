"""What a log line tells of the training examples since the last one."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from distmatch.losses.divergences import total_variation
from distmatch.losses.words import support_log_probs
from distmatch.measuring.metrics import Outcomes, Ratio, slope_ratio

SHOWN = ("tvd", "slope", "other")
"""Metrics of the training examples in every log line and beside the progress bar."""

TERMS = ("divergence", "preserve_kl", "retention_kl")
"""Terms of the loss; retention without its weight."""

EXCESS = "excess"
"""By how much other is more probable than it is to be."""


class RunningMeans:
    """Sums of ratios by name, from which their means are told at the next log line."""

    def __init__(self, device: torch.device) -> None:
        """Start with nothing counted."""
        self._device = device
        names = (*SHOWN, EXCESS, *TERMS)
        self._sums = dict.fromkeys(names, torch.zeros(2, dtype=torch.float32, device=device))

    @torch.no_grad()
    def add(self, **ratios: Ratio) -> None:
        """Count some examples; no synchronisation with the device."""
        for name, ratio in ratios.items():
            counted = torch.stack([part.float().sum() for part in ratio])
            self._sums[name] = self._sums[name] + counted

    def means(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The mean of each of `SHOWN`, `EXCESS` and `TERMS` that anything was counted of.

        Args:
            reduce: Sums a tensor over all processes.
        """
        sums = self.sums(reduce)
        return {name: numerator / count for name, (numerator, count) in sums.items() if count}

    def sums(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, list[float]]:
        """Numerator and denominator of each, over all processes, as JSON has them.

        Args:
            reduce: Sums a tensor over all processes.
        """
        sums = reduce(torch.stack(list(self._sums.values()))).tolist()
        return dict(zip(self._sums, sums, strict=True))

    def go_on(self, sums: Mapping[str, Sequence[float]]) -> None:
        """Count what was counted before a checkpoint, as `sums` told it."""
        for name, counted in sums.items():
            self._sums[name] = self._sums[name] + torch.tensor(counted, device=self._device)


@torch.no_grad()
def progress(outcomes: Outcomes) -> dict[str, Ratio]:
    """`SHOWN` and `EXCESS` of the examples of a batch."""
    log_probs = support_log_probs(outcomes.scores, outcomes.is_free)
    other = outcomes.scores.other.exp()
    excess = torch.where(outcomes.is_free, 0.0, other - outcomes.target[:, -1])
    ones = torch.ones_like(other)
    return {
        "tvd": Ratio(total_variation(log_probs, outcomes.target), ones),
        "slope": slope_ratio(outcomes),
        "other": Ratio(other, ones),
        EXCESS: Ratio(excess, ones),
    }
