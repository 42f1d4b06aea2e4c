"""Exact answers to probes, held against what is really written."""

from collections import Counter

import numpy as np
import pytest

from distmatch.evals import LocalModel
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import WordsProbe
from tests.evals.backends.teaching import ONE, taught_model

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
