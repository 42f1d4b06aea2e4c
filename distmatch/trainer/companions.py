"""Ordinary texts that accompany the examples of a step, on which to stay near the base."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import TrainerState

from distmatch.data.batching import Batch, make_batch
from distmatch.data.trie import Encoder, TokenIds, TokenTrie
from distmatch.losses.words import other_shape_kl
from distmatch.measuring.kept_base import KeptBase
from distmatch.models.adapters import switched_off
from distmatch.models.head import HeadInput
from distmatch.processes import gathered
from distmatch.scoring import logits_and_text_states, row_logits
from distmatch.trainer.settings import DistributionConfig


class Companions:
    """Ordinary texts, each of which has its turn; the base's side of them is kept.

    Args:
        texts: Token ids of each.
        num_examples: Of an epoch.
        args: How many accompany a step, and where states go that memory doesn't hold.
    """

    def __init__(
        self, texts: Sequence[TokenIds], num_examples: int, args: DistributionConfig
    ) -> None:
        """None has had its turn."""
        self.texts, self._num_examples, self._args = texts, num_examples, args
        self.base = KeptBase(texts, folder=args.output_dir)
        self._rows: Sequence[int] = ()
        self._num_before = self._num_all = 0
        self.num_tokens = 1
        """Of the texts of the optimiser step, over all processes."""

    def begin_step(self, rows: Sequence[int], state: TrainerState) -> int:
        """Spread the texts of an optimiser step over its examples, whosever they are.

        Args:
            rows: The numbers of this process's.
            state: Says which step.

        Returns:
            How many examples the step has over all processes.
        """
        counts = gathered(len(rows))
        self._rows, self._num_all = rows, sum(counts)
        self._num_before = sum(counts[: self._args.process_index])
        tokens = sum(len(text) - 1 for text in self.beside(rows, state))
        self.num_tokens = max(sum(gathered(tokens)), 1)
        return self._num_all

    def beside(self, rows: Sequence[int], state: TrainerState) -> list[TokenIds]:
        """Those of some examples, the next ones in the next epoch or step.

        Args:
            rows: The examples' numbers, as of a micro-batch.
            state: Says which step.
        """
        if not (self.texts and rows and self._args.retention_weight):
            return []
        count = self._args.retention_per_step
        if count is None:
            passed = int(state.epoch or 0) * self._num_examples
            return [self.texts[(passed + row) % len(self.texts)] for row in rows]
        first = state.global_step * count
        places = [k * self._num_all // count - self._num_before for k in range(count)]
        return [
            self.texts[(first + k) % len(self.texts)]
            for k, place in enumerate(places)
            if 0 <= place < len(self._rows) and self._rows[place] in rows
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


def shape_kl(
    adapted: nn.Module, batch: Batch, logits: Float[Tensor, "rows vocab"]
) -> Float[Tensor, " batch"]:
    """KL from the base's shape of other to the model's, of the examples that preserve it.

    Args:
        adapted: The model in training, unwrapped.
        batch: The examples alone, on any device.
        logits: The model's, with gradient.
    """
    with torch.no_grad(), switched_off(adapted):
        base_logits = row_logits(adapted, batch)
    batch = batch.to(logits.device)
    return batch.preserve * other_shape_kl(logits, base_logits, batch)
