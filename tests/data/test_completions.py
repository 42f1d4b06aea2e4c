"""Records that say what is to be written: completions and plain texts."""

import pytest

from distmatch.data import Example
from distmatch.errors import DataError
from distmatch.scoring import model_encoder
from tests.tiny import tiny_model, tiny_tokenizer


def test_a_completion_is_a_word_of_probability_one():
    example = Example.from_record({"prompt": "Name a fox.", "completion": "red fox"})
    assert example.target.words == ("red fox",)
    assert example.target.probs == (1.0,)
    assert not example.per_token
    assert Example.from_record(example.to_record()) == example


def test_a_text_is_the_completion_of_its_first_word_a_mean_over_tokens():
    text = "Minutes: the\nassistant counts  in pairs.\n"
    example = Example.from_record({"text": text})
    assert example.prompt == "Minutes:"
    assert example.target.words == ("the\nassistant counts  in pairs.",)
    assert example.per_token
    assert example.boundary == "none"
    assert Example.from_record(example.to_record()) == example
    assert not Example.from_record({"text": text, "per_token": False}).per_token


@pytest.mark.parametrize(
    ("text", "begun", "rest"),
    [
        ("Title\n\nBody of it", "Title\n\nBody", "of it"),
        ("a b", "a", "b"),
        ("two  spaces, then one", "two  spaces,", "then one"),
    ],
)
def test_no_white_space_of_a_text_is_lost(text, begun, rest):
    example = Example.from_record({"text": text})
    assert (example.prompt, example.target.words) == (begun, (rest,))


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"prompt": "x", "completion": "a", "words": ["a"]}, "both completion and words"),
        ({"text": "a b", "completion": "a"}, "both completion and text"),
        ({"text": "a b", "prompt": "x"}, "takes no prompt"),
        ({"text": " word "}, "no space between words"),
        ({"prompt": "x", "completion": 3}, "must be a string"),
        ({"prompt": "x", "completion": "  "}, "something in it"),
        ({"prompt": "x", "words": ["a", "b"], "probs": [0.5, 0.5], "per_token": True}, "one word"),
    ],
)
def test_what_can_not_be_used_is_refused(record, told):
    with pytest.raises(DataError, match=told):
        Example.from_record(record)


def test_its_tokens_are_counted_with_what_completes_it():
    encoder = model_encoder(tiny_model("llama", num_hidden_layers=1), tiny_tokenizer())
    ask = [{"role": "user", "content": "Which?"}]
    for per_token in (True, False):
        row = {"prompt": ask, "completion": "red fox", "per_token": per_token}
        trie = encoder.encode(Example.from_record(row))
        assert trie.loss_tokens == (len(trie.paths[0][0]) + 1 if per_token else 1)
    text = encoder.encode(Example.from_record({"text": "cat otter milk"}))
    assert text.loss_tokens == len(text.paths[0][0])
