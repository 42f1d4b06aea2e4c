"""Examples + model → every metric, an example each."""

import torch
from torch import nn

from distmatch.data.batching import make_batch
from distmatch.data.trie import AskedTries, Encoder
from distmatch.losses.words import WordLogProbs
from distmatch.measuring.metrics import Outcomes, Ratio, metric_ratios
from distmatch.scoring import score_tries


def outcomes_of(
    model: nn.Module,
    encoder: Encoder,
    asked: AskedTries,
    *,
    batch_size: int = 32,
    progress: str | None = None,
    shared: bool = False,
) -> tuple[Outcomes, dict[str, Ratio]]:
    """A model's scores of the examples themselves, and every metric an example each.

    Args:
        model: The model; its mode is restored afterwards.
        encoder: What made the tries.
        asked: The examples, with their rotations.
        batch_size: Prompts a forward.
        progress: What it is called where progress is shown; None: it isn't shown.
        shared: As of `score_tries`.
    """
    count = len(asked.tries)
    batch = make_batch(asked.tries, encoder)
    everything = score_tries(
        model,
        encoder,
        [*asked.tries, *asked.rotations],
        batch_size=batch_size,
        progress=progress,
        shared=shared,
    )
    own = WordLogProbs(*(part[:count] for part in everything))
    rotated = WordLogProbs(*(part[count:] for part in everything))
    outcomes = Outcomes(own, batch.target, batch.is_word, batch.is_free)
    rotation_of = torch.tensor(asked.rotation_of, dtype=torch.long)
    return outcomes, metric_ratios(outcomes, rotated, rotation_of)
