"""A tiny model in a directory, and an experiment that is done."""

from dataclasses import replace

import pytest

from distmatch.experiments import run_experiment
from tests.experiments.small import HOW_OFTEN, experiment
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A directory."""
    folder = tmp_path_factory.mktemp("model")
    tiny_model("llama", num_hidden_layers=2, max_position_embeddings=8192).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def finished(model, tmp_path_factory):
    """Its folder, what came of it, and what was told."""
    folder, told = tmp_path_factory.mktemp("experiments") / "coins", []
    coins = experiment((0.2, 0.8), controls=1, probe=replace(HOW_OFTEN, high=10))
    outcome = run_experiment(coins, model, folder, progress=False, tell=told.append)
    return folder, outcome, told
