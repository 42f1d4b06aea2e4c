"""A model that writes what it is told to."""

import copy
from dataclasses import replace

import torch


def typist(subject, *texts, is_cut=False):
    """The subject, writing these texts, each ended unless it is cut."""
    tokenizer, model = subject.tokenizer, copy.copy(subject.model)
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    longest = max(map(len, rows))
    end = tokenizer.eos_token_id
    padded = torch.tensor([row + [end] * (longest - len(row) + (not is_cut)) for row in rows])
    model.generate = lambda input_ids, **_: torch.cat([input_ids, padded], dim=1)
    return replace(subject, model=model)
