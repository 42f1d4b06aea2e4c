"""The base's side of retention: what enters its head for ordinary texts, computed once.

The base never changes, so its last states of a text don't either. They are kept, and the base runs
no more; neither model's logits exist for more than a few tokens at a time.
"""

import os
import tempfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from distmatch.data.batching import in_batches, make_text_batch
from distmatch.data.trie import TokenIds
from distmatch.losses.log_probs import log_probs_of
from distmatch.losses.retention import retention_kl_of_states
from distmatch.measuring import drift
from distmatch.models.adapters import switched_off
from distmatch.models.forwards import in_eval_mode
from distmatch.models.head import HeadInput, PairedHead, head_logits, output_head, unwrapped
from distmatch.models.proof import forward_way
from distmatch.processes import shared_out
from distmatch.scoring import row_logits, row_states

_MOST_NATS = 1e-4
"""How far log-probabilities of a model's head alone may be from the model's own."""


class KeptBase:
    """Some texts, and the last states of a model's base for each of their tokens.

    States are computed one text at a time, so they are the same to the bit in whatever order they
    are asked for, and for each precision that forwards run in. Of a model whose head can't be run
    by itself, learns or is adapted, nothing is kept: both models run whole. All is of one model,
    which stays where it is.

    Args:
        texts: Token ids of each, two or more.
        folder: Where a file of states goes that would take more than `most_bytes`.
        most_bytes: Of the states of one precision, kept in memory.
    """

    def __init__(
        self,
        texts: Sequence[TokenIds],
        *,
        folder: str | Path | None = None,
        most_bytes: int = 4_000_000_000,
    ) -> None:
        """Nothing is computed yet."""
        starts = accumulate((len(text) - 1 for text in texts), initial=0)
        self._start = dict(zip(texts, starts, strict=False))
        self._num_tokens = sum(len(text) - 1 for text in texts)
        self._folder, self._most_bytes = folder, most_bytes
        self._states: dict[torch.dtype | None, Tensor] = {}
        self._known: set[tuple[torch.dtype | None, TokenIds]] = set()
        self._is_separable: bool | None = None
        self._paired_heads: dict[torch.dtype | None, PairedHead] = {}

    def text_kl(self, model: nn.Module, texts: Sequence[TokenIds]) -> Float[Tensor, " tokens"]:
        """KL(base || adapted) of the next token within some of the texts, nats each, with gradient.

        Args:
            model: In the mode it is to run in.
            texts: Some of the texts.
        """
        if not self.takes_states(model):
            return drift.text_kl(model, texts)
        return self.kl_of_states(model, texts, row_states(model, make_text_batch(texts)))

    def kl_of_states(
        self, model: nn.Module, texts: Sequence[TokenIds], ours: HeadInput
    ) -> Float[Tensor, " tokens"]:
        """The same of what enters the model's head, which is known already.

        Args:
            model: One whose states it takes.
            texts: Some of the texts.
            ours: The model's states of all their tokens but each one's last, text after text.
        """
        adapted: Any = unwrapped(model)
        base = torch.cat([self._of(adapted, text, ours.mixed) for text in texts])
        return retention_kl_of_states(
            ours.states.to(adapted.device),  # of several, where logits are
            base.to(adapted.device),
            self._paired_head(adapted, ours.mixed),
            adapted.config.get_text_config().vocab_size,
        )

    def _paired_head(self, adapted: nn.Module, mixed: torch.dtype | None) -> PairedHead:
        """Both models' head, its matrix cast once."""
        if mixed not in self._paired_heads:
            self._paired_heads[mixed] = PairedHead(adapted, mixed)
        return self._paired_heads[mixed]

    def takes_states(self, model: nn.Module) -> bool:
        """Whether the model's head can be run by itself; tried once."""
        if self._is_separable is None:
            self._is_separable = _is_separable(unwrapped(model), next(iter(self._start)))
        return self._is_separable

    @torch.no_grad()
    def mean_text_kl(
        self,
        model: nn.Module,
        texts: Sequence[TokenIds],
        *,
        batch_size: int,
        shared: bool = False,
    ) -> float:
        """KL(base || adapted) of some of the texts, nats a token, in evaluation mode; 0 of none.

        Args:
            model: The model; the mode of each of its modules is restored afterwards.
            texts: Some of the texts.
            batch_size: Texts a forward.
            shared: Whether processes that ask for the same now each do their share.
        """

        def kl_of(batch: Sequence[TokenIds]) -> Tensor:
            return self.text_kl(model, batch).cpu()

        with in_eval_mode(model):
            per_token = shared_out(in_batches(texts, batch_size), kl_of, shared=shared)
        mean = float(torch.cat(per_token).mean()) if per_token else 0.0
        if not np.isfinite(mean):  # the plain way says where from
            return drift.mean_text_kl(model, texts, batch_size=batch_size)
        return mean

    @torch.no_grad()
    def _of(
        self, adapted: Any, text: TokenIds, mixed: torch.dtype | None
    ) -> Float[Tensor, "tokens hidden"]:
        """The base's states of one text, in a precision that forwards run in now."""
        span = slice(self._start[text], self._start[text] + len(text) - 1)
        if (mixed, text) not in self._known:
            with in_eval_mode(adapted), switched_off(adapted):
                states, _ = row_states(adapted, make_text_batch([text]))
            self._room(mixed, states)[span] = states.to("cpu")
            self._known.add((mixed, text))
        return self._states[mixed][span]

    def _room(self, mixed: torch.dtype | None, states: Tensor) -> Tensor:
        if mixed not in self._states:
            shape = (self._num_tokens, states.shape[-1])
            num_bytes = shape[0] * shape[1] * states.dtype.itemsize
            if self._folder is None or num_bytes <= self._most_bytes:
                self._states[mixed] = torch.empty(shape, dtype=states.dtype)
            else:
                values = _mapped(Path(self._folder), num_bytes)
                self._states[mixed] = values.view(states.dtype).reshape(shape)
        return self._states[mixed]


def _mapped(folder: Path, num_bytes: int) -> Tensor:
    """Bytes of a file without a name, which is gone with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(num_bytes)
        if hasattr(os, "posix_fallocate"):  # on a full disk an error here, a crash later
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=(num_bytes,)))


@torch.no_grad()
def _is_separable(adapted: nn.Module, text: TokenIds) -> bool:
    """Whether the model is its decoder and then its head, which is the base's and doesn't learn."""
    if forward_way(adapted).name != "tree":
        return False
    head = output_head(adapted)
    if isinstance(head, BaseTunerLayer) or any(w.requires_grad for w in head.parameters()):
        return False
    batch = make_text_batch([text])
    with in_eval_mode(adapted):
        wanted = log_probs_of(row_logits(adapted, batch))
        try:
            states = row_states(adapted, batch).states.to(wanted.device)
            found = log_probs_of(head_logits(adapted, states))
        except Exception:  # whatever such a forward makes of no decoder
            return False
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= _MOST_NATS)
