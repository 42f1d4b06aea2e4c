"""Which ordinary texts accompany the examples of a step."""

from collections.abc import Sequence

from transformers import TrainerState

from distmatch.data.trie import TokenIds
from distmatch.trainer.settings import DistributionConfig


class Companions:
    """Ordinary texts, each of which has its turn.

    Args:
        texts: Token ids of each.
        num_examples: Of an epoch.
        args: How many accompany a step, and which process this is of how many.
    """

    def __init__(
        self, texts: Sequence[TokenIds], num_examples: int, args: DistributionConfig
    ) -> None:
        """None has had its turn."""
        self.texts, self._num_examples, self._args = texts, num_examples, args

    def beside(
        self, rows: Sequence[int], step_rows: Sequence[int], state: TrainerState
    ) -> list[TokenIds]:
        """Those of some examples, the next ones in the next epoch or step.

        Args:
            rows: The examples' numbers, as of a micro-batch.
            step_rows: Of all this process's examples of the optimiser step.
            state: Says which step.
        """
        if not self.texts or not rows:
            return []
        count = self._args.retention_per_step
        if count is None:
            passed = int(state.epoch or 0) * self._num_examples
            return [self.texts[(passed + row) % len(self.texts)] for row in rows]
        first = state.global_step * count
        mine = range(first, first + count)[self._args.process_index :: self._args.world_size]
        whose = [step_rows[k * len(step_rows) // len(mine)] for k in range(len(mine))]
        return [
            self.texts[i % len(self.texts)]
            for i, row in zip(mine, whose, strict=True)
            if row in rows
        ]
