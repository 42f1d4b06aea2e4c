"""What a model really writes, against what is computed: samples of `generate` fit exact scores."""

import pytest
import torch
from continuations import count_words, sample_repeatedly
from goodness import goodness_of_fit

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.prompts import continues_word
from distmatch.scoring import model_encoder, score_tries

NUM_SAMPLES = 50  # of each prompt
NUM_TOKENS = 4  # the longest path has three, and one must follow

# Words the untrained model does write here, of one to three tokens.
PROMPTS = {
    "The capital of France is": ("Paris", "London", "the city of"),
    "Once upon a time, there was a little": ("girl", "town", "village", "boy"),
    "My favourite colour is": ("blue", "red", "white", "black", "green"),
    "The opposite of hot is": ("cold", "cool", "lukewarm"),
    "She looked out of the window and saw a": ("young", "group", "woman", "man"),
    "The cat sat on the": ("couch", "moon", "sun", "doorstep"),
    "He was born in the month of": ("January", "October", "March", "December", "July"),
    "I would like a cup of": ("coffee", "tea", "black coffee", "hot chocolate"),
    "The sun rises in the": ("sky", "east", "horizon", "west", "night"),
    "Two plus two equals": ("five", "four", "eight", "seven", "three"),
    "In the summer, the weather is": ("perfect", "still", "warm", "so hot"),
    "She opened the door and walked into the": ("room", "kitchen", "garden", "living room"),
}


def by_text(words, text):
    """Which word a continuation begins with, read as text; the last for other."""
    for number, word in enumerate(words):
        rest = text.removeprefix(f" {word}")
        if rest and rest != text and not continues_word(rest):
            return number
    return len(words)


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
        (
            trie,
            [*words[: len(trie.paths)], other],
            sample_repeatedly(model, trie.prompt_ids, NUM_SAMPLES, NUM_TOKENS),
        )
        for trie, words, other in rows
    ]


def test_samples_fit_the_exact_probabilities(samples):
    encoder, rows = samples
    counts = [count_words(written, trie, encoder) for trie, _, written in rows]
    fit = goodness_of_fit(counts, [probs for _, probs, _ in rows])
    print(fit)
    assert fit.freedom >= 15
    assert fit.p_value > 0.001


def test_hardly_a_word_is_spelt_in_other_tokens(samples):
    encoder, rows = samples
    read = canonical = 0
    for trie, _, written in rows:
        for tokens in written:
            word = by_text(trie.target.words, encoder.tokenizer.decode(tokens))
            read += word < len(trie.paths)
            canonical += word < len(trie.paths) and count_words([tokens], trie, encoder)[word]
    print(f"{read - canonical} of {read} words read as text are spelt in other tokens")
    assert read > 250
    assert canonical >= 0.99 * read
