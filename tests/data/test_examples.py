"""Examples, checked when made, and their records."""

import json

import pytest

from distmatch.data.examples import Example
from distmatch.errors import DataError
from tests.data.colours import COLOURS, EVERYTHING, QUESTION, RECORD


@pytest.mark.parametrize("example", [Example(prompt="a", target=COLOURS), EVERYTHING])
def test_a_record_describes_its_example_completely(example):
    record = json.loads(json.dumps(example.to_record()))
    assert Example.from_record(record) == example


def test_a_record_leaves_out_what_is_default():
    assert Example.from_record(RECORD).to_record() == RECORD


def test_columns_of_none_take_their_defaults():
    nothing = dict.fromkeys(
        ("other", "prefill", "boundary", "forms", "rotations", "metadata"), None
    )
    assert Example.from_record(RECORD | nothing) == Example(prompt="red or blue?", target=COLOURS)


@pytest.mark.parametrize("kind", [list, tuple])
def test_messages_may_come_as_a_list_or_a_tuple(kind):
    assert Example(prompt=kind(QUESTION), target=COLOURS).prompt == QUESTION
    assert Example.from_record(RECORD | {"prompt": kind(QUESTION)}).prompt == QUESTION


def test_an_example_keeps_its_own_copy_of_the_messages():
    messages = [dict(message) for message in QUESTION]
    example = Example(prompt=messages, target=COLOURS)
    messages[0]["content"] = "changed"
    assert example.prompt == QUESTION


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n"}, "the prompt is empty"),
        ({"prompt": []}, "the prompt has no messages"),
        ({"prompt": 3}, "the prompt must be a string or a list of messages, got 3"),
        ({"prompt": ["hello"]}, 'a message of the prompt needs "role" and "content"'),
        ({"prompt": [{"role": "user"}]}, 'a message of the prompt needs "role" and "content"'),
        ({"prompt": [{"role": "user", "content": None}]}, "role and content of a message must be"),
        ({"prompt": [{"role": 3, "content": "hi"}]}, "role and content of a message must be"),
        ({"forms": ["bare", 3]}, 'column "forms" must hold strings, got'),
        ({"boundary": 5}, 'column "boundary" must be a string, got 5'),
        ({"probs": [10**400, 0]}, "more than 1: divide percentages by 100"),
        ({"prompt": [{"role": "user", "content": " "}]}, "every message of the prompt is empty"),
        ({"prompt": None}, 'column "prompt" is missing; the record has'),
        ({"word": ["red"]}, 'unknown column "word"; known: prompt, words.* Did you mean "words"?'),
        ({"probabilities": [1]}, 'unknown column "probabilities".*Did you mean "probs"?'),
        ({"words": "red"}, "column \"words\" must be a list, got 'red'"),
        ({"words": ["red", "red"]}, "duplicate words"),
        ({"words": ["red"]}, "1 words but 2 probs"),
        ({"probs": [0.7, 0.7]}, "sum to 1.4, more than 1"),
        ({"boundary": "end_of_line"}, 'unknown boundary "end_of_line".*Did you mean "end_of_'),
        ({"forms": ["spaced"]}, 'unknown form "spaced"; .*Did you mean "space"?'),
        ({"forms": "bare"}, 'column "forms" must be a list'),
        ({"prefill": 3}, 'column "prefill" must be a string, got 3'),
        ({"metadata": "test"}, 'column "metadata" must be an object'),
        ({"rotations": ["a", "b"]}, "2 rotations for 2 words, expected 1"),
        ({"rotations": [""]}, "the rotation is empty"),
    ],
)
def test_a_bad_record_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        Example.from_record(RECORD | change)


def test_rotated_examples_ask_for_rotated_probabilities():
    rotated = EVERYTHING.rotated()
    assert [example.prompt for example in rotated] == ["first", "second"]
    assert [example.target.probs for example in rotated] == [(0.1, 0.5, 0.2), (0.2, 0.1, 0.5)]
    assert all(example.rotations == () for example in rotated)


def test_an_effort_may_have_any_name_but_none():
    told = {"chat_template_kwargs": {"reasoning_effort": "minimal"}}
    example = Example.from_record(RECORD | told)
    assert example.chat_template_kwargs == told["chat_template_kwargs"]
    for effort in ("", 3):
        told = {"chat_template_kwargs": {"reasoning_effort": effort}}
        with pytest.raises(DataError, match=f"reasoning_effort is {effort!r}, expected a name"):
            Example.from_record(RECORD | told)
