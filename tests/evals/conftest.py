"""What the tests of this folder share: a model that is asked, and never changed."""

import pytest

from distmatch.evals import LocalModel
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="session")
def tiny():
    """A tiny model and its tokenizer."""
    return tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()


@pytest.fixture(scope="session")
def smallest():
    """A subject of one block, for long suites."""
    model = tiny_model("llama", num_hidden_layers=1, max_position_embeddings=1024)
    return LocalModel(model=model, tokenizer=tiny_tokenizer(), progress=False)


@pytest.fixture(scope="session")
def subject(tiny):
    """`tiny`, as suites ask it."""
    model, tokenizer = tiny
    return LocalModel(model=model, tokenizer=tokenizer, progress=False)
