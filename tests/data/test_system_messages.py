"""A system message where a template takes none: before the user's, whatever is asked."""

import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.prompts import render_slot, thinking_slot
from distmatch.data.trie import Encoder
from distmatch.errors import DataError
from tests.tiny import thinking_tokenizer, tiny_tokenizer

USER = {"role": "user", "content": "red or blue?"}
OPENED = "<|im_start|>user\nred or blue?<|im_end|>\n<|im_start|>assistant\n"
SYSTEM = {"role": "system", "content": "Be brief."}
FOLDED = {"role": "user", "content": "Be brief.\n\nred or blue?"}
_CHATML = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
_THOUGHT = (
    "{{ '<think>\n' ~ m.thinking ~ '\n</think>\n\n' if m.thinking is defined }}{{ m.content }}"
)
_OPENED = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TAKES_NONE = {
    "raises": "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}"
    "{% endif %}" + _CHATML.replace("{{ m.content }}", _THOUGHT) + _OPENED,
    "drops": "{% for m in messages if m.role != 'system' %}"
    + _CHATML.replace("{{ m.content }}", _THOUGHT)
    + _OPENED,
    "gemma": "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    "{% if message.role == 'assistant' %}{% set role = 'model' %}"
    "{% else %}{% set role = message.role %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message.content | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
}


@pytest.fixture(scope="module")
def fold():
    """Tokenizers with templates that take no system message."""

    def made(how):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = TAKES_NONE[how]
        return tokenizer

    return made


@pytest.mark.parametrize("how", TAKES_NONE)
@pytest.mark.parametrize(
    ("rest", "prefill"),
    [
        ((), ""),
        ((), "I say"),
        (({"role": "assistant", "content": "I say"},), ""),
        (({"role": "assistant", "content": "red"}, USER), ""),
    ],
)
def test_a_system_message_stands_before_the_users_where_a_template_takes_none(
    fold, how, rest, prefill
):
    tokenizer = fold(how)
    slot = render_slot(tokenizer, (SYSTEM, USER, *rest), prefill)
    assert slot == render_slot(tokenizer, (FOLDED, *rest), prefill)
    assert "Be brief.\n\nred or blue?" in slot.text


@pytest.mark.parametrize("how", TAKES_NONE)
def test_rows_to_train_on_have_the_ids_that_are_measured(fold, how):
    tokenizer = fold(how)
    target = WordDistribution(("red", "blue"), (0.7, 0.3))
    turned = ({"role": "user", "content": "blue or red?"},)
    example = Example(prompt=(SYSTEM, USER), target=target, rotations=((SYSTEM, *turned),))
    by_hand = Example(
        prompt=(FOLDED,),
        target=target,
        rotations=([{"role": "user", "content": "Be brief.\n\nblue or red?"}],),
    )
    encoder = Encoder(tokenizer)
    rows, expected = [[one, *one.rotated()] for one in (example, by_hand)]
    assert encoder.encode_all(rows) == encoder.encode_all(expected)
    assert encoder.encode(example).prompt_ids == render_slot(tokenizer, example.prompt).ids
    assert encoder.encode_texts([example.prompt]) == encoder.encode_texts([(FOLDED,)])


@pytest.mark.parametrize("how", ["raises", "drops"])
def test_a_thought_is_behind_a_system_message_that_stands_before_the_users(fold, how):
    tokenizer = fold(how)
    thought = {"role": "assistant", "thinking": "Hm.", "content": "I"}
    slot = render_slot(tokenizer, (SYSTEM, USER, thought), " say")
    assert slot == render_slot(tokenizer, (FOLDED, thought), " say")
    assert slot.text.endswith("<think>\nHm.\n</think>\n\nI say")


def test_thinking_starts_behind_a_system_message_that_stands_before_the_users():
    tokenizer = thinking_tokenizer("begins")
    others = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}"
    tokenizer.chat_template = others + tokenizer.chat_template
    told = {"enable_thinking": True}
    slot = thinking_slot(tokenizer, (SYSTEM, USER), told)
    assert slot == thinking_slot(tokenizer, (FOLDED,), told)
    assert "Be brief." in tokenizer.decode(list(slot.ids))


@pytest.mark.parametrize("how", TAKES_NONE)
@pytest.mark.parametrize(
    "prompt",
    [(SYSTEM,), (SYSTEM, {"role": "assistant", "content": "I say"}), (USER, SYSTEM)],
)
def test_a_system_message_that_stands_before_no_users_is_refused(fold, how, prompt):
    with pytest.raises(DataError, match=r"takes no system message, and behind 'Be brief.' is no"):
        render_slot(fold(how), prompt)


def test_several_system_messages_keep_their_order(fold):
    prompt = ({"role": "system", "content": "First."}, SYSTEM, USER)
    content = "First.\n\nBe brief.\n\nred or blue?"
    by_hand = ({"role": "user", "content": content},)
    assert render_slot(fold("gemma"), prompt) == render_slot(fold("gemma"), by_hand)


def test_a_template_that_takes_a_system_message_is_left_alone():
    chat = tiny_tokenizer()
    text = "<|im_start|>system\nBe brief.<|im_end|>\n" + OPENED
    assert render_slot(chat, (SYSTEM, USER)).text == text
    needs = tiny_tokenizer()  # a setting without which it refuses everything
    needs.chat_template = (
        "{% if day is not defined %}{{ raise_exception('day') }}{% endif %}" + chat.chat_template
    )
    assert render_slot(needs, (SYSTEM, USER), template_kwargs={"day": "today"}).text == text


def test_a_template_that_refuses_messages_is_an_error(fold):
    message = r"refuses messages with roles \['user', 'user'\].*roles must alternate"
    with pytest.raises(DataError, match=message):
        render_slot(fold("gemma"), (USER, USER))
