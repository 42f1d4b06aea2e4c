"""Exact answers to probes, held against what is really written."""

import re
from collections import Counter

import numpy as np
import pytest
import torch

from distmatch.evals import LocalModel
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import ScaleProbe, WordsProbe
from tests.evals.backends.teaching import ONE, taught_model
from tests.tiny import tiny_model, tiny_tokenizer

WRITTEN = 2000


def test_exact_shares_are_those_of_2000_written_answers():
    model, (tokenizer, _) = taught_model()
    subject = LocalModel(model=model, tokenizer=tokenizer, batch_size=WRITTEN, progress=False)
    words = ("red", "blue", "otter")
    probe = WordsProbe(asked=(ONE[0]["content"],) * 5, answers=words)
    exact = measure(subject, probe).rows()[0]["said"]["asked"][0]["mass"]
    texts = [
        one.text
        for one in subject.write(
            [ONE] * WRITTEN, [6] * WRITTEN, lambda _row, text: " " in text.strip(), "samples"
        )
    ]
    counts = Counter(text.strip().split(" ")[0].strip(".").lower() for text in texts)
    assert sum(exact) > 0.7
    for word, mass in zip(words, exact, strict=True):
        error = np.sqrt(mass * (1 - mass) / WRITTEN)
        assert counts[word] / WRITTEN == pytest.approx(mass, abs=4 * error)


def test_exact_masses_of_a_scale_are_those_of_2000_written_numbers():
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    likely = torch.zeros(model.config.vocab_size)
    likely[tokenizer.convert_tokens_to_ids([*"0123456789"])] = 5.0
    likely[tokenizer.convert_tokens_to_ids(".")] = 7.0
    head = model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _m, _i, out: out * 0.5 + likely)
    subject = LocalModel(model=model, tokenizer=tokenizer, batch_size=WRITTEN, progress=False)
    probe = ScaleProbe(asked=("From {b} to {a}?",) * 5, ends=("yes", "no"), high=12)
    exact = measure(subject, probe).rows()[0]["said"]["asked"][0]["mass"]
    asked = ({"role": "user", "content": "From no to yes?"},)
    written = subject.write(
        [asked] * WRITTEN,
        [5] * WRITTEN,
        lambda _row, text: re.match(r"\d+\D", text) is not None,
        "samples",
    )
    handle.remove()
    counts = Counter(found[1] for one in written if (found := re.match(r"(\d+)(?!\d)", one.text)))
    assert sum(exact) > 0.2 and min(exact) > 0
    for number, mass in zip(range(13), exact, strict=True):
        error = np.sqrt(mass * (1 - mass) / WRITTEN)
        assert counts[str(number)] / WRITTEN == pytest.approx(mass, abs=4 * error), number
