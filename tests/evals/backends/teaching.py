"""Examples, and a small model that has learnt to answer them."""

from dataclasses import replace

import torch

from distmatch.data import Example, WordDistribution
from distmatch.data.batching import make_batch
from distmatch.evals import measure
from distmatch.evals.suites import OwnExamples
from distmatch.losses import forward_kl, support_log_probs
from distmatch.scoring import model_encoder, score_batch
from tests.tiny import tiny_model, tiny_tokenizer

_STEPS, _RATE = 150, 0.03

ONE = ({"role": "user", "content": "red, blue or otter?"},)
A_FOX = ({"role": "user", "content": "A fox?"},)
BEGUN = (*ONE, {"role": "assistant", "content": "It is"})


def example(prompt, probs, boundary="end_of_word"):
    target = WordDistribution(tuple(probs), tuple(probs.values()))
    return Example(prompt=prompt, target=target, boundary=boundary)


def asked(taught):
    """The same without its last word, which is other then.

    It is a token of its own, so next to no probability is left for other ways to cut the words,
    which an endpoint's text shows as the same and a local score doesn't count.
    """
    *words, _ = taught.target.words
    *probs, other = taught.target.probs
    return replace(taught, target=WordDistribution(tuple(words), tuple(probs), other))


_CHATS = (
    example(ONE, {"red": 0.5, "blue": 0.25, "otter": 0.125, "cat": 0.125}),
    example(BEGUN, {"red": 0.25, "green": 0.5, "cat": 0.25}),
    example(A_FOX, {"red": 0.25, "red fox": 0.5, "cat": 0.25}, "end_of_turn"),
)
_TEXTS = (
    example("Pick a word: red or otter. The", {"red": 0.25, "otter": 0.5, "cat": 0.25}),
    example(ONE, {"red": 0.5, "otter": 0.25, "cat": 0.25}),  # without a template
    example("The dog saw a", {"cat": 0.5, "été": 0.25, "dog": 0.25}),  # tokens cut characters
)
CHATS, TEXTS = (tuple(asked(one) for one in some) for some in (_CHATS, _TEXTS))


def measured(endpoint, examples):
    return measure(endpoint, OwnExamples(rows=examples), num_resamples=10)


def taught_model():
    """The model and its tokenizers, with and without a template, taught to answer the examples."""
    model = tiny_model("llama", num_hidden_layers=2, max_position_embeddings=1024)
    tokenizers = tiny_tokenizer(), tiny_tokenizer()
    tokenizers[1].chat_template = None
    batches = []
    for tokenizer, examples in zip(tokenizers, (_CHATS, _TEXTS), strict=True):
        encoder = model_encoder(model, tokenizer)
        batches.append(make_batch(encoder.encode_all(examples), encoder))
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    for step in range(_STEPS):
        optimizer.param_groups[0]["lr"] = _RATE * (1 - step / _STEPS)
        for batch in batches:
            scores = score_batch(model, batch)
            loss = forward_kl(support_log_probs(scores, batch.is_free), batch.target).mean()
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, tokenizers
