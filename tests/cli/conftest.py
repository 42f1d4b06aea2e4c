"""What tests of several commands need."""

import shutil

import pytest

from distmatch.cli import main
from tests.cli.small import run_file
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A tiny model's directory."""
    folder = tmp_path_factory.mktemp("model")
    made = tiny_model("llama", num_hidden_layers=2, max_position_embeddings=1024)
    made.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def trained(model, tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(["train", str(run_file(folder, model))]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def weightless(model, tmp_path_factory):
    """A test file's `model`, its weights cut short: what is refused is refused before loading."""
    folder = tmp_path_factory.mktemp("weightless") / "model"
    shutil.copytree(model, folder)
    (folder / "model.safetensors").write_bytes(b"cut")
    return folder
