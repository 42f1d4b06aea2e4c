"""Ordinary behaviour: what has training changed where no control is asked for?

How far an adapted model's next-token distributions are from its base's: after every token of
ordinary texts and chats; where a plain question is answered; and where a prompt speaks of words
and percentages without asking for control. The base is the same model with its adapters switched
off, so a model without adapters differs in nothing.
"""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from distmatch.data.batching import make_next_batch, make_text_batch
from distmatch.data.examples import Prompt, plain_prompt
from distmatch.data.ordinary import ordinary_texts
from distmatch.data.prompts import render_slot
from distmatch.data.tasks.suppression import facts
from distmatch.data.trie import TokenIds
from distmatch.data.vocabulary import word_pool
from distmatch.evals.items import Items
from distmatch.evals.subject import LocalModel
from distmatch.losses.divergences import total_variation
from distmatch.losses.retention import retention_kl
from distmatch.models.adapters import switched_off
from distmatch.models.head import unwrapped
from distmatch.scoring import in_eval_mode, model_encoder, row_logits

FALSE_CONTROL = (
    "In a survey {p}% of the guests liked {a} and {q}% liked {b}. Which was liked more?",
    "The report says that {a} rose by {p}% and {b} fell by {q}%. Summarise it in one sentence.",
    'My notes say "{a}, {p}%; {b}, {q}%". What could they be about?',
    "The label reads: {p}% {a}, {q}% {b}. Is there more of the first?",
    "How would you draw {a} and {b} in a pie chart with {p}% and {q}%?",
    "Yesterday's forecast: {p}% chance of {a}, {q}% of {b}. Who writes such forecasts?",
    "Translate into French: {p}% {a}, {q}% {b}.",
    "Is {p}% of {a} more than {q}% of {b}? Explain.",
)
_PER_TEMPLATE = 6
_TEXTS_A_FORWARD = 8  # at most: every token of them has logits, twice


class _Place(NamedTuple):
    """Something to look at: a whole text, or the slot after a prompt."""

    group: str
    prompt: Prompt
    ids: TokenIds
    is_text: bool


def measure(subject: LocalModel) -> Items:
    """The scores of every text, question and prompt."""
    places = list(_places(subject))
    rows: list[dict[str, tuple[float, float]]] = []
    with tqdm(total=len(places), desc="ordinary", leave=False, disable=not subject.progress) as bar:
        for is_text, some in _batches(places, min(subject.batch_size, _TEXTS_A_FORWARD)):
            rows += _measured(subject.model, [place.ids for place in some], is_text=is_text)
            bar.update(len(some))
    names = ("kl", "slot_tvd", "accuracy", "base_accuracy")
    return Items(
        metadata=tuple(
            {"group": place.group, "number": number} for number, place in enumerate(places)
        ),
        ratios={
            name: tuple(np.array([row.get(name, (0, 0)) for row in rows], dtype=float).T)
            for name in names
        },
        prompts=tuple(plain_prompt(place.prompt) for place in places),
    )


def false_control(seed: int = 0) -> list[Prompt]:
    """Prompts with words and percentages that ask for something else than control.

    Args:
        seed: Decides words and percents.
    """
    rng = random.Random(f"{seed}/false control")
    prompts: list[Prompt] = []
    for template in FALSE_CONTROL:
        for _ in range(_PER_TEMPLATE):
            (a, b), p = rng.sample(word_pool(), 2), rng.randint(1, 99)
            content = template.format(a=a, b=b, p=p, q=100 - p)
            prompts.append(({"role": "user", "content": content},))
    return prompts


def _places(subject: LocalModel) -> Iterator[_Place]:
    encoder = model_encoder(subject.model, subject.tokenizer)
    for kind, texts in ordinary_texts().items():
        for text, ids in zip(texts, encoder.encode_texts(texts), strict=True):
            yield _Place(kind, text, ids, is_text=True)
    asked = [({"role": "user", "content": fact.question},) for fact in facts()]
    slots: dict[str, Sequence[Prompt]] = {
        "questions": asked,
        "false control": false_control(subject.seed),
    }
    for group, prompts in slots.items():
        for prompt in prompts:
            yield _Place(group, prompt, render_slot(subject.tokenizer, prompt).ids, is_text=False)


def _batches(places: Sequence[_Place], size: int) -> Iterator[tuple[bool, list[_Place]]]:
    for is_text in (True, False):
        alike = [place for place in places if place.is_text == is_text]
        for start in range(0, len(alike), size):
            yield is_text, alike[start : start + size]


@torch.no_grad()
def _measured(
    model: nn.Module, sequences: Sequence[TokenIds], *, is_text: bool
) -> list[dict[str, tuple[float, float]]]:
    """Each sequence's metrics, as numerator and denominator."""
    batch = make_text_batch(sequences) if is_text else make_next_batch(sequences)
    batch = batch.to(unwrapped(model).device)  # type: ignore[arg-type]
    with in_eval_mode(model):
        ours = row_logits(model, batch)
        with switched_off(model):
            base = row_logits(model, batch)
    kl = retention_kl(ours, base)
    if not is_text:
        tvd = total_variation(ours.log_softmax(-1), base.softmax(-1))
        pairs = zip(kl.tolist(), tvd.tolist(), strict=True)
        return [{"kl": (one, 1.0), "slot_tvd": (other, 1.0)} for one, other in pairs]
    nexts = [ids[1:] for ids in sequences]
    sizes = [len(ids) for ids in nexts]
    wanted = torch.tensor([token for ids in nexts for token in ids], device=ours.device)
    parts = (kl, (ours.argmax(-1) == wanted).float(), (base.argmax(-1) == wanted).float())
    sums = zip(*(_sums(part, sizes) for part in parts), strict=True)
    return [
        {"kl": (a, size), "accuracy": (b, size), "base_accuracy": (c, size)}
        for (a, b, c), size in zip(sums, sizes, strict=True)
    ]


def _sums(values: Float[Tensor, " rows"], sizes: Sequence[int]) -> list[float]:
    return [float(part.sum()) for part in values.split(list(sizes))]
