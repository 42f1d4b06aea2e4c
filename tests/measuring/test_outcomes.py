"""Examples asked as they are and with their numbers rotated."""

import pytest
import torch

from distmatch.data import output_control
from distmatch.measuring.outcomes import outcomes_of
from distmatch.scoring import model_encoder, score
from tests.tiny import tiny_model, tiny_tokenizer

MODEL, TOKENIZER = tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()
ENCODER = model_encoder(MODEL, TOKENIZER)
EXAMPLES = output_control(n=1, n_test=4, seed=3)[1]


def test_every_rotation_belongs_to_its_example():
    asked = ENCODER.encode_asked(EXAMPLES)
    counts = [asked.rotation_of.count(row) for row in range(len(EXAMPLES))]
    assert counts == [len(example.target.words) - 1 for example in EXAMPLES]
    assert len(asked.rotations) == sum(counts)


@pytest.mark.parametrize("batch_size", [1, 32])
def test_the_outcomes_are_the_examples_own_scores(batch_size):
    asked = ENCODER.encode_asked(EXAMPLES)
    outcomes, ratios = outcomes_of(MODEL, ENCODER, asked, batch_size=batch_size)
    for row, example in enumerate(EXAMPLES):
        words = example.target.words
        alone = score(MODEL, TOKENIZER, example.prompt, words)
        scored = outcomes.scores.words[row, : len(words)]
        torch.testing.assert_close(scored, alone.log_probs, atol=1e-4, rtol=1e-4)
        assert outcomes.target[row, : len(words)].tolist() == pytest.approx(example.target.probs)
    assert ratios["swap_gap"].denominator.tolist() == [1.0] * len(EXAMPLES)
