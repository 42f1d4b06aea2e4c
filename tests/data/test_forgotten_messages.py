"""What a chat template leaves out or changes is refused, not scored as if it were there."""

import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.prompts import render_slot
from distmatch.data.trie import Encoder
from distmatch.errors import DataError
from tests.tiny import tiny_tokenizer

COLOURS = WordDistribution(("red", "blue"), (0.7, 0.3))
ASK = {"role": "user", "content": "red or blue?"}
OPENED = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
THREE_ROLES = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}<|im_start|>system\n{{ m.content }}<|im_end|>\n"
    "{% elif m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n"
    "{% elif m.role == 'assistant' %}<|im_start|>assistant\n{{ m.content }}<|im_end|>\n"
    "{% endif %}{% endfor %}" + OPENED
)
LOWER = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | lower }}<|im_end|>\n"
    "{% endfor %}" + OPENED
)
PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
) + OPENED


def with_template(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("template", "messages", "told"),
    [
        (
            THREE_ROLES,
            [{"role": "developer", "content": "Say blue."}, ASK],
            'leaves out .* role "developer" in place 1 of 2 says .*Say blue',
        ),
        (
            THREE_ROLES,
            [ASK, {"role": "tool", "content": "42"}, ASK],
            'leaves out .* role "tool" in place 2 of 3',
        ),
        (PARTS, [ASK], 'leaves out .* role "user" in place 1 of 1'),
        (LOWER, [ASK], 'changes what the message of role "user" in place 1 of 1'),
    ],
)
def test_a_message_that_is_not_written_is_refused_by_role_and_place(template, messages, told):
    encoder = Encoder(with_template(template))
    with pytest.raises(DataError, match=told):
        encoder.encode(Example(prompt=messages, target=COLOURS))
    with pytest.raises(DataError, match=f"text 0: .*{told}"):
        encoder.encode_texts([messages])


@pytest.mark.parametrize("template", [THREE_ROLES, LOWER, PARTS])
def test_plain_text_needs_nothing_of_a_template(template):
    trie = Encoder(with_template(template)).encode(Example(prompt="I say", target=COLOURS))
    assert trie.boundary == "end_of_word" and len(trie.paths) == 2


def test_what_is_written_is_no_fault():
    tokenizer = with_template(THREE_ROLES)
    system = {"role": "system", "content": "Be brief."}
    empty = {"role": "tool", "content": " "}
    slot = render_slot(
        tokenizer, [system, ASK, {"role": "assistant", "content": "red"}, empty, ASK]
    )
    assert slot.text.count("red or blue?") == 2 and "Be brief." in slot.text


def test_a_system_message_alone_that_is_dropped_still_stands_before_the_users():
    no_system = THREE_ROLES.replace("m.role == 'system'", "false")
    slot = render_slot(with_template(no_system), [{"role": "system", "content": "Be brief."}, ASK])
    assert "user\nBe brief.\n\nred or blue?<|im_end|>" in slot.text


def test_thoughts_of_earlier_turns_may_be_left_out_which_is_said_once(caplog):
    tokenizer = with_template(THREE_ROLES + "{# of this test alone #}")
    thought = {"role": "assistant", "content": "red", "thinking": "It says red or blue."}
    for turns in (1, 2):
        slot = render_slot(tokenizer, [*[ASK, thought] * turns, ASK])
        assert "It says" not in slot.text
    (said,) = caplog.messages
    assert said == "the chat template leaves out what was thought in earlier turns"
    tokenizer.chat_template = THREE_ROLES.replace(
        "{{ m.content }}", "{{ m.thinking }}{{ m.content }}"
    )
    render_slot(tokenizer, [ASK, thought, ASK])
    assert len(caplog.messages) == 1
    last = "{% if loop.index > 2 %}{{ m.thinking }}{% endif %}{{ m.content }}"
    tokenizer.chat_template = THREE_ROLES.replace("{{ m.content }}", last)
    render_slot(tokenizer, [ASK, thought, ASK, thought, ASK])  # the first is lost, not the second
    assert len(caplog.messages) == 2
