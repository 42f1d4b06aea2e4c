"""A model by name, and how it is loaded."""

import pytest

from distmatch.errors import ConfigError
from distmatch.models.choice import ModelChoice
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tiny_model("llama").save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return str(path)


def test_it_is_loaded_with_the_attention_that_is_named(folder):
    model, _ = ModelChoice(name=folder, attention="eager").load()
    assert model.config._attn_implementation == "eager"
    assert ModelChoice(name=folder).load()[0].config._attn_implementation == "sdpa"


def test_the_attention_is_a_part_of_what_answers_depend_on(folder):
    plain, eager = ModelChoice(name=folder), ModelChoice(name=folder, attention="eager")
    assert eager.record() == plain.record() | {"attention": "eager"}


def test_an_attention_that_is_unknown_or_not_there_is_refused(folder):
    with pytest.raises(ConfigError, match=r'unknown attention "eagre".*Did you mean "eager"'):
        ModelChoice(name=folder, attention="eagre")
    with pytest.raises(ConfigError, match='attention "flash_attention_2" can\'t be used here: '):
        ModelChoice(name=folder, attention="flash_attention_2").load()
