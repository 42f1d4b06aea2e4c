"""What a model really writes, against what is computed: samples of `generate` fit exact scores."""

import pytest
import torch
from transformers import DynamicCache

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.prompts import continues_word
from distmatch.scoring import model_encoder, score_tries

NUM_SAMPLES = 100  # of each prompt
NUM_TOKENS = 4  # the longest path has three, and one must follow
LEAST_EXPECTED = 5.0

# Words the untrained model does write here, of one to three tokens.
PROMPTS = {
    "The capital of France is": ("Paris", "London", "the city of"),
    "Once upon a time, there was a little": ("girl", "town", "village", "boy"),
    "My favourite colour is": ("blue", "red", "white", "black", "green"),
    "The opposite of hot is": ("cold", "cool", "lukewarm"),
    "She looked out of the window and saw a": ("young", "group", "woman", "man"),
    "The cat sat on the": ("couch", "moon", "sun", "doorstep"),
    "The days of the week are Monday, Tuesday,": ("Wednesday", "Thursday", "and Wednesday"),
    "He was born in the month of": ("January", "October", "March", "December", "July"),
    "I would like a cup of": ("coffee", "tea", "black coffee", "hot chocolate"),
    "The sun rises in the": ("sky", "east", "horizon", "west", "night"),
    "Two plus two equals": ("five", "four", "eight", "seven", "three"),
    "The largest animal in the world is the": ("blue whale", "elephant", "Blue Whale", "whale"),
    "The baby began to": ("feel", "cry", "take", "fall asleep"),
    "Water freezes at zero degrees": ("Celsius", "Fahrenheit", "Kelvin"),
    "In the summer, the weather is": ("perfect", "still", "warm", "so hot"),
    "The king and the": ("king", "queen", "other", "princess"),
    "The dog wagged its": ("tail", "head", "tails"),
    "It was a dark and stormy": ("night", "evening", "day"),
    "The president of the United": ("States", "Arab Emirates", "Kingdom", "Nations"),
    "She opened the door and walked into the": ("room", "kitchen", "garden", "living room"),
}


def sampled(model, prompt_ids):
    """Continuations of a prompt, whose own states are computed once."""
    cache = DynamicCache(config=model.config)
    ids = torch.tensor([prompt_ids])
    with torch.no_grad():
        model(ids[:, :-1], past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(NUM_SAMPLES)
    written = model.generate(
        ids.repeat(NUM_SAMPLES, 1),
        attention_mask=torch.ones(NUM_SAMPLES, len(prompt_ids), dtype=torch.long),
        past_key_values=cache,
        max_new_tokens=NUM_TOKENS,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
    )
    return [tuple(tokens) for tokens in written[:, len(prompt_ids) :].tolist()]


def by_ids(trie, ends, tokens):
    """Which word a continuation begins with, token by token; the last for other."""
    for word, (path,) in enumerate(trie.paths):
        if tokens[: len(path)] == path and ends[tokens[len(path)]]:
            return word
    return len(trie.paths)


def by_text(words, text):
    """Which word a continuation begins with, read as text; the last for other."""
    for number, word in enumerate(words):
        rest = text.removeprefix(f" {word}")
        if rest and rest != text and not continues_word(rest):
            return number
    return len(words)


def pooled(counts, expected):
    """Cells of few expected samples join other, the last, or go where that is small as well."""
    large = [i for i in range(len(expected) - 1) if expected[i] >= LEAST_EXPECTED]
    pairs = [(counts[i], expected[i]) for i in large]
    rest = (sum(counts) - sum(c for c, _ in pairs), sum(expected) - sum(e for _, e in pairs))
    if rest[1] >= LEAST_EXPECTED:
        return [*pairs, rest]
    return [*pairs[:-1], (pairs[-1][0] + rest[0], pairs[-1][1] + rest[1])]


@pytest.fixture(scope="module")
def samples(embedded):
    """For every prompt its trie, its exact probabilities, and what the model wrote."""
    model, tokenizer = embedded
    encoder = model_encoder(model, tokenizer)
    tries = [
        encoder.encode(
            Example(prompt=p, target=WordDistribution.normalised(dict.fromkeys(words, 1)))
        )
        for p, words in PROMPTS.items()
    ]
    scores = score_tries(model, encoder, tries)
    rows = zip(tries, scores.words.exp().tolist(), scores.other.exp().tolist(), strict=True)
    torch.manual_seed(0)
    return encoder, [
        (trie, [*words[: len(trie.paths)], other], sampled(model, trie.prompt_ids))
        for trie, words, other in rows
    ]


def test_samples_fit_the_exact_probabilities(samples):
    encoder, rows = samples
    ends = encoder.boundary_set("end_of_word").tolist()
    cells, freedom = [], 0
    for trie, probs, written in rows:
        counts = [0] * len(probs)
        for tokens in written:
            counts[by_ids(trie, ends, tokens)] += 1
        kept = pooled(counts, [NUM_SAMPLES * prob for prob in probs])
        cells += kept
        freedom += len(kept) - 1
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in cells)
    halves = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    p_value = torch.special.gammaincc(*halves).item()
    print(f"chi-square {statistic:.1f} on {freedom} degrees of freedom, p = {p_value:.3f}")
    assert freedom >= 30
    assert p_value > 0.001


def test_hardly_a_word_is_spelt_in_other_tokens(samples):
    encoder, rows = samples
    ends = encoder.boundary_set("end_of_word").tolist()
    read = canonical = 0
    for trie, _, written in rows:
        for tokens in written:
            word = by_text(trie.target.words, encoder.tokenizer.decode(tokens))
            read += word < len(trie.paths)
            canonical += word < len(trie.paths) and by_ids(trie, ends, tokens) == word
    print(f"{read - canonical} of {read} words read as text are spelt in other tokens")
    assert read > 500
    assert canonical >= 0.99 * read
