"""Says so when a loss should have moved the words, and hasn't."""

from transformers.utils import logging

from distmatch.trainer.settings import DistributionConfig

logger = logging.get_logger(__name__)

_STEPS = 20  # by then a loss that starts at all has moved probability to the words
_EXCESS = 0.9


class StartWatch:
    """Looks once, some steps after the beginning or the warm-up."""

    def __init__(self, args: DistributionConfig, *, is_forward_kl: bool) -> None:
        """Remember what the remedy depends on."""
        self._loss = args.loss
        self._first = _STEPS + args.warmup_steps_forward_kl
        self._is_forward_kl = is_forward_kl
        self._has_looked = False

    def see(self, step: int, excess: float) -> None:
        """Warn, if this is the first look.

        Args:
            step: Steps taken.
            excess: By how much other is more probable than it is to be, over the last steps.
        """
        if step < self._first:
            return
        if excess > _EXCESS and not self._has_looked:
            remedy = (
                "raise learning_rate"
                if self._is_forward_kl
                else f"{self._loss} has almost no gradient there: set warmup_steps_forward_kl"
            )
            logger.warning(
                f"not started: after {step} steps the words together lack {excess:.4f} of their "
                f"probability; {remedy}"
            )
        self._has_looked = True
