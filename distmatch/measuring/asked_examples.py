"""Examples + model → every metric, an example each."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from distmatch.data.batching import make_batch
from distmatch.data.examples import Example
from distmatch.data.trie import Encoder, TokenTrie
from distmatch.losses.words import WordLogProbs
from distmatch.measuring.metrics import Outcomes, Ratio, metric_ratios
from distmatch.scoring import score_tries


@dataclass(frozen=True)
class AskedExamples:
    """Examples made ready for measuring: each as it is, and with its numbers rotated."""

    tries: list[TokenTrie]
    rotations: list[TokenTrie]
    rotation_of: list[int]

    @classmethod
    def encode(cls, encoder: Encoder, examples: Sequence[Example]) -> "AskedExamples":
        """Some examples, encoded with their rotations.

        Raises:
            DataError: Examples that can't be encoded, each with its number.
        """
        rotated = [(i, r) for i, example in enumerate(examples) for r in example.rotated()]
        return cls(
            encoder.encode_all(examples),
            encoder.encode_all([example for _, example in rotated], "rotation"),
            [i for i, _ in rotated],
        )

    def score(
        self,
        model: nn.Module,
        encoder: Encoder,
        *,
        batch_size: int = 32,
        progress: str | None = None,
    ) -> tuple[Outcomes, dict[str, Ratio]]:
        """The model's scores of the examples themselves, and every metric an example each."""
        everything = score_tries(
            model, encoder, [*self.tries, *self.rotations], batch_size=batch_size, progress=progress
        )
        asked = make_batch(self.tries, encoder)
        own = WordLogProbs(*(part[: len(self.tries)] for part in everything))
        rotated = WordLogProbs(*(part[len(self.tries) :] for part in everything))
        outcomes = Outcomes(own, asked.target, asked.is_word, asked.is_free)
        rotation_of = torch.tensor(self.rotation_of, dtype=torch.long)
        return outcomes, metric_ratios(outcomes, rotated, rotation_of)
