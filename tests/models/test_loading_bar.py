"""Reading weights is a phase like any other, and may be switched off as transformers has it."""

import pytest
from transformers.utils import logging

from distmatch.models import load_model
from distmatch.progress import work
from tests.progress.terminal import terminal
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_model("llama", num_hidden_layers=1).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def test_weights_are_counted_in_a_line_of_which_nothing_is_left(saved):
    with terminal() as seen:
        load_model(saved)
    assert any(bar.startswith("loading weights 0/12 |") for bar in seen.bars)
    assert "".join(seen.lines) == ""


def test_they_have_a_place_in_the_line_of_a_work(saved):
    with terminal() as seen, work("all of it"):
        load_model(saved)
    assert any(bar.startswith("loading weights 0/12 |") for bar in seen.bars)
    (line,) = seen.lines
    assert line.startswith("all of it: done in ")


def test_nothing_is_shown_where_transformers_is_to_show_nothing(saved):
    logging.disable_progress_bar()
    try:
        with terminal() as seen:
            load_model(saved)
    finally:
        logging.enable_progress_bar()
    assert seen.written == ""
