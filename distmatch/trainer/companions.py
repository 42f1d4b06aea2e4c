"""Ordinary texts that accompany the examples of a step, on which to stay near the base."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from transformers import TrainerState

from distmatch.data.batching import Batch, make_batch
from distmatch.data.trie import Encoder, TokenIds, TokenTrie
from distmatch.measuring.kept_base import KeptBase
from distmatch.models.head import HeadInput
from distmatch.scoring import logits_and_text_states, row_logits
from distmatch.trainer.settings import DistributionConfig


class Companions:
    """Ordinary texts, each of which has its turn; the base's side of them is kept.

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
        self.base = KeptBase(texts, folder=args.output_dir)

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

    def forward(
        self,
        model: nn.Module,
        tries: Sequence[TokenTrie],
        encoder: Encoder,
        texts: Sequence[TokenIds],
    ) -> tuple[Batch, Float[Tensor, "rows vocab"], HeadInput | None]:
        """A batch of examples, its logits, and the states of some texts if one forward gives both.

        Args:
            model: The model in training.
            tries: The examples.
            encoder: What made them.
            texts: Those that accompany them.
        """
        together = texts if texts and self.base.takes_states(model) else ()
        batch = make_batch(tries, encoder, texts=together).to(self._args.device)
        if together:
            return batch, *logits_and_text_states(model, batch)
        return batch, row_logits(model, batch), None

    def kl(
        self, model: nn.Module, texts: Sequence[TokenIds], states: HeadInput | None
    ) -> Float[Tensor, " tokens"]:
        """KL(base || adapted) of the next token within some of the texts, nats each, with gradient.

        Args:
            model: The model in training.
            texts: Some of the texts.
            states: As of `forward`.
        """
        if states is None:
            return self.base.text_kl(model, texts)
        return self.base.kl_of_states(model, texts, states)
