"""Before any training: where would a step change most? One pass of gradients over some examples.

Of every site the gradient that its LoRA would get first, of two losses apart: forward KL over
words and other, which where a model doesn't say the words yet is about copying; and forward KL
over the words alone, which is about control. `squared_norm` is of the mean gradient; `fisher` the
mean of the squared norms of each example's own (the trace of the empirical Fisher information).
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from distmatch.data.batching import make_batch
from distmatch.data.trie import Encoder, TokenTrie
from distmatch.files import write_text
from distmatch.losses.divergences import forward_kl
from distmatch.losses.words import support_log_probs
from distmatch.models.attaching import attached
from distmatch.models.blocks import adaptable_sites
from distmatch.models.forwards import in_eval_mode
from distmatch.models.lora import LoraTarget
from distmatch.progress import phase
from distmatch.scoring import score_batch
from distmatch.sweeps.folder import PROBE_FILE, parsed_file
from distmatch.sweeps.headlines import CONTROL, COPYING

LOSSES = (COPYING.name, CONTROL.name)
"""What each of its losses is about."""

NUM_EXAMPLES = 32
_SEED = 0
_RANK = 16


class ProbeScore(NamedTuple):
    """Of one loss at one matrix."""

    loss: str
    """One of `LOSSES`."""
    block: int
    kind: str
    name: str
    """Of the site."""
    squared_norm: float
    """Of the mean gradient."""
    fisher: float


def probe(
    model: PreTrainedModel, encoder: Encoder, tries: Sequence[TokenTrie], *, progress: bool = True
) -> list[ProbeScore]:
    """The scores of every site of every block; the model is left as it was.

    Args:
        model: Without an adapter.
        encoder: What made the tries.
        tries: Of examples that it would be trained on, of two words or more.
        progress: With a progress bar.
    """
    sites = {site.path: site for site in adaptable_sites(model)}
    sums: dict[tuple[str, str], Tensor] = {}
    squares: dict[tuple[str, str], float] = defaultdict(float)
    with (
        attached(model, LoraTarget("block", _RANK), seed=_SEED) as adapted,
        in_eval_mode(adapted),
        phase("probe", len(tries), shown=progress) as probing,
    ):
        weights = _first_moving(adapted)
        for trie in tries:
            for loss, gradients in _gradients(adapted, encoder, trie, list(weights.values())):
                for path, gradient in zip(weights, gradients, strict=True):
                    key = loss, path
                    sums[key] = sums[key] + gradient if key in sums else gradient
                    squares[key] += float(gradient.square().sum())
            probing.advance()
    return [
        ProbeScore(
            *(loss, sites[path].block, sites[path].kind, sites[path].name),
            squared_norm=float((total / len(tries)).square().sum()),
            fisher=squares[loss, path] / len(tries),
        )
        for (loss, path), total in sums.items()
    ]


def read_scores(folder: Path) -> list[ProbeScore]:
    """The probe's, of a sweep's folder; none where it isn't there.

    Args:
        folder: The sweep's.

    Raises:
        ConfigError: The file holds something else.
    """
    path = folder / PROBE_FILE
    if not path.is_file():
        return []
    return parsed_file(path, lambda rows: [ProbeScore(**row) for row in rows])


def write_scores(folder: Path, scores: Sequence[ProbeScore]) -> None:
    """Leave them in a sweep's folder."""
    rows = [score._asdict() for score in scores]
    write_text(folder / PROBE_FILE, json.dumps(rows, indent=1) + "\n")


def _first_moving(adapted: torch.nn.Module) -> dict[str, Tensor]:
    """The half of every LoRA that has a gradient at the start, by its site's path."""
    base = adapted.get_base_model()  # type: ignore[operator]
    found = {}
    for path, layer in base.named_modules():
        if isinstance(layer, LoraLayer):
            own = getattr(layer, "parameter_name", None)
            plain = re.sub(r"\.base_layer", "", path)
            weight: Tensor = layer.lora_B["default"].weight  # type: ignore[assignment]
            found[f"{plain}.{own}" if own else plain] = weight
    return found


def _gradients(
    model: torch.nn.Module, encoder: Encoder, trie: TokenTrie, weights: list[Tensor]
) -> list[tuple[str, tuple[Tensor, ...]]]:
    """Of both losses of one example."""
    batch = make_batch([trie], encoder).to(model.device)  # type: ignore[arg-type]
    scores = score_batch(model, batch)
    is_free = torch.ones_like(batch.is_free)
    over_words = batch.target.clone()
    over_words[:, -1] = 0
    over_words = over_words / over_words.sum(-1, keepdim=True)
    losses = (
        forward_kl(support_log_probs(scores, ~is_free), batch.target),
        forward_kl(support_log_probs(scores, is_free), over_words),
    )
    return [
        (name, torch.autograd.grad(loss.sum(), weights, retain_graph=name == LOSSES[0]))
        for name, loss in zip(LOSSES, losses, strict=True)
    ]
