"""How far an adapted model is from its base: the same weights with the adapters switched off."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor, nn

from distmatch.data.batching import TreeBatch, in_batches, make_next_batch, make_text_batch
from distmatch.data.trie import TokenIds
from distmatch.losses.divergences import total_variation
from distmatch.losses.log_probs import log_probs_of
from distmatch.losses.retention import retention_kl
from distmatch.measuring.metrics import Ratio
from distmatch.models.adapters import switched_off
from distmatch.models.forwards import in_eval_mode
from distmatch.models.head import unwrapped
from distmatch.scoring import row_logits

TEXTS_A_FORWARD = 8
"""At most, where speed alone would have more: every token of them has logits, twice."""


def text_kl(model: nn.Module, texts: Sequence[TokenIds]) -> Float[Tensor, " tokens"]:
    """KL(base || adapted) of the next token within texts, nats each, with gradient.

    Args:
        model: In the mode it is to run in; its base runs in the same, without gradient.
        texts: Token ids of each, two or more.
    """
    return retention_kl(*_logits_beside_base(model, make_text_batch(texts)))


@torch.no_grad()
def mean_text_kl(model: nn.Module, texts: Sequence[TokenIds], *, batch_size: int) -> float:
    """KL(base || adapted) of ordinary texts, nats a token, in evaluation mode; 0 of no texts.

    Args:
        model: The model; the mode of each of its modules is restored afterwards.
        texts: Token ids of each, two or more.
        batch_size: Texts a forward. Every token of them has logits, twice.
    """
    with in_eval_mode(model):
        per_token = [text_kl(model, some).cpu() for some in in_batches(texts, batch_size)]
    return float(torch.cat(per_token).mean()) if per_token else 0.0


def text_drift(model: nn.Module, texts: Sequence[TokenIds]) -> dict[str, Ratio]:
    """`kl` from the base, `accuracy` and `base_accuracy` of the next token, a text each.

    Args:
        model: Asked in evaluation mode, in one forward; the modes are restored afterwards.
        texts: Token ids of each, two or more.
    """
    return answer_drift(model, [(text[:1], text[1:]) for text in texts])


@torch.no_grad()
def answer_drift(
    model: nn.Module, answers: Sequence[tuple[TokenIds, TokenIds]]
) -> dict[str, Ratio]:
    """The same of the tokens of answers alone, an answer each: sums in nats, and of hits.

    On answers that were drawn from the base, with their ends, the sum of `kl` over an answer's
    tokens is an unbiased estimate of the KL between the distributions of whole answers (the chain
    rule of relative entropy, Cover and Thomas, Elements of Information Theory, theorem 2.5.3), up
    to where they were cut.

    Args:
        model: As above.
        answers: Token ids of each prompt, one or more, and of its answer; of none it is 0 of 0.
    """
    texts = [(*prompt, *answer) for prompt, answer in answers]
    with in_eval_mode(model):
        ours, base = _logits_beside_base(model, make_text_batch(texts))
    wanted = torch.tensor([token for text in texts for token in text[1:]], device=ours.device)
    per_token = {
        "kl": retention_kl(ours, base),
        "accuracy": (ours.argmax(-1) == wanted).float(),
        "base_accuracy": (base.argmax(-1) == wanted).float(),
    }
    rows, sizes = [len(text) - 1 for text in texts], [len(answer) for _, answer in answers]
    counts = torch.tensor(sizes, dtype=torch.float32, device=ours.device)
    return {
        name: Ratio(
            torch.stack(
                [
                    part[len(part) - size :].sum()
                    for part, size in zip(values.split(rows), sizes, strict=True)
                ]
            ),
            counts,
        )
        for name, values in per_token.items()
    }


@torch.no_grad()
def slot_drift(model: nn.Module, slots: Sequence[TokenIds]) -> dict[str, Ratio]:
    """`kl` and `slot_tvd` from the base of the token after each prompt, a prompt each.

    Args:
        model: Asked in evaluation mode, in one forward; the modes are restored afterwards.
        slots: Token ids of each prompt.
    """
    with in_eval_mode(model):
        ours, base = _logits_beside_base(model, make_next_batch(slots))
    tvd = total_variation(log_probs_of(ours), log_probs_of(base).exp())
    ones = torch.ones_like(tvd)
    return {"kl": Ratio(retention_kl(ours, base), ones), "slot_tvd": Ratio(tvd, ones)}


def _logits_beside_base(
    model: nn.Module, batch: TreeBatch
) -> tuple[Float[Tensor, "rows vocab"], Float[Tensor, "rows vocab"]]:
    """A model's logits, and its base's at the same places without gradient.

    A model without an adapter is its own base: one forward does for both.
    """
    adapted = unwrapped(model)  # the base needs no wrapper, which would await a backward
    batch = batch.to(adapted.device)  # type: ignore[arg-type]
    with torch.no_grad(), switched_off(adapted):
        base = row_logits(adapted, batch) if isinstance(adapted, PeftModel) else None
    ours = row_logits(model, batch)
    return ours, ours.detach() if base is None else base
