"""What tests of runs need."""

import pytest

from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory):
    """A tiny model's directory."""
    folder = tmp_path_factory.mktemp("model")
    made = tiny_model("llama", num_hidden_layers=2, max_position_embeddings=1024)
    made.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
