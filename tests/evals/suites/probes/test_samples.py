"""Exact answers to probes, held against what is really written."""

import re
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from distmatch.evals import LocalModel
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import OptionsProbe, OwnProbe, ScaleProbe, WordsProbe
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
    check_frequencies(counts, dict(zip(words, exact, strict=True)))


@contextmanager
def saying(letters, model, tokenizer):
    """The model, made to say some letters more than any others."""
    likely = torch.zeros(model.config.vocab_size)
    likely[tokenizer.convert_tokens_to_ids([*letters])] = 5.0
    likely[tokenizer.convert_tokens_to_ids(".")] = 7.0
    hook = model.get_output_embeddings().register_forward_hook(lambda _m, _i, out: out / 2 + likely)
    yield LocalModel(model=model, tokenizer=tokenizer, batch_size=WRITTEN, progress=False)
    hook.remove()


def written(subject, prompt, pattern):
    """Of 2,000 answers how often each is what the pattern's group finds."""
    texts = subject.write(
        [prompt] * WRITTEN,
        [5] * WRITTEN,
        lambda _row, text: bool(re.match(r".+\W", text)),
        "samples",
    )
    return Counter(found[1] for one in texts if (found := re.match(pattern, one.text)))


def check_frequencies(counts, masses, total=WRITTEN):
    """Within four standard errors."""
    for answer, mass in masses.items():
        error = np.sqrt(mass * (1 - mass) / total)
        assert counts[answer] / total == pytest.approx(mass, abs=4 * error + 1 / total), answer


def test_exact_masses_of_options_are_those_of_2000_written_letters():
    with saying("(ABC", tiny_model("llama"), tiny_tokenizer()) as subject:
        options = {"one": "tea", "two": "milk", "three": "water"}
        probe = OptionsProbe(asked=("Which?",) * 5, options=options)
        first = measure(subject, probe).rows()[0]["said"]["asked"][0]
        counts = written(subject, first["prompt"], r"\(?([ABC])(?!\w)")
    assert sum(first["mass"]) > 0.2
    check_frequencies(counts, dict(zip("ABC", first["mass"], strict=True)))


def test_exact_first_letters_are_those_of_2000_first_tokens():
    asked = tuple(f"{n}: {{question}}, {{property}}, {{values}}?" for n in range(5))
    tokenizer = tiny_tokenizer()
    with saying("aOx", tiny_model("llama"), tokenizer) as subject:
        probe = OwnProbe(asked=asked, openings=("Name one.",), properties=("vowel",), top=320)
        (shares,) = probe.answered(subject)
        prompts = [[{"role": "user", "content": "Name one."}]] * WRITTEN
        texts = subject.write(prompts, [1] * WRITTEN, lambda _row, _text: True, "samples")
    firsts = (tokenizer.decode(one.tokens[:1]).strip(" \"'*`(\n\t")[:1].upper() for one in texts)
    counts = Counter(letter for letter in firsts if letter in shares)
    total = sum(counts.values())
    assert total > WRITTEN / 4
    check_frequencies(counts, shares, total)


def test_exact_masses_of_a_scale_are_those_of_2000_written_numbers():
    with saying("0123456789", tiny_model("llama"), tiny_tokenizer()) as subject:
        probe = ScaleProbe(asked=("From {b} to {a}?",) * 5, ends=("yes", "no"), high=12)
        exact = measure(subject, probe).rows()[0]["said"]["asked"][0]["mass"]
        asked = [{"role": "user", "content": "From no to yes?"}]
        counts = written(subject, asked, r"(\d+)(?!\d)")
    assert sum(exact) > 0.2 and min(exact) > 0
    check_frequencies(counts, dict(zip(map(str, range(13)), exact, strict=True)))
