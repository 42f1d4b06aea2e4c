"""Chats that a model writes by itself: whose they are, where they begin and end."""

import numpy as np
import pytest
import torch

import distmatch as dm
from distmatch.data import negatives, read_texts, write_texts
from distmatch.data.prompts import user_slot
from distmatch.data.trie import Encoder
from distmatch.errors import ConfigError, DataError
from tests.tiny import (
    THINKING_TEMPLATES,
    randomise_adapter,
    thinking_tokenizer,
    tiny_model,
    tiny_tokenizer,
)

SMALL = {"n": 3, "user_tokens": 40, "answer_tokens": 8, "batch_size": 4}


@pytest.fixture(scope="module")
def ending():
    """A tiny model that ends about every eighth token's turn."""
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.weight.mul_(0.1)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    head.register_forward_hook(lambda _m, _i, out: out.index_add(-1, _at(end), _more(out)))
    return model, tokenizer


def _at(token):
    return torch.tensor([token])


def _more(logits):
    return torch.full((*logits.shape[:-1], 1), 3.0)


def written(model, tokenizer, **given):
    return dm.OwnChats(**SMALL | given)(model, tokenizer, progress=False)


def test_both_sides_are_written_each_user_something_else(ending):
    chats = written(*ending, n=5)
    assert 3 <= len(chats) <= 5  # an answer may be nothing
    assert {tuple(m["role"] for m in chat) for chat in chats} == {("user", "assistant")}
    asked = [chat[0]["content"] for chat in chats]
    assert len(set(asked)) == len(asked)
    assert all(m["content"] == m["content"].strip() != "" for chat in chats for m in chat)


def test_a_seed_decides_them_and_nothing_else_is_drawn(ending):
    state = torch.get_rng_state()
    first = written(*ending, seed=1)
    torch.manual_seed(99)
    assert written(*ending, seed=1) == first != written(*ending, seed=2)
    torch.set_rng_state(state)


def test_they_are_the_bases_whatever_the_adapter(ending):
    model, tokenizer = ending
    plain = written(model, tokenizer)
    adapted = dm.attach_lora(tiny_model("llama"), dm.lora("all", rank=2), seed=0)
    bare = written(tiny_model("llama"), tokenizer, n=0, questions=negatives(4))
    randomise_adapter(adapted, 1.0)
    assert written(adapted, tokenizer, n=0, questions=negatives(4)) == bare
    assert plain


def test_questions_of_yours_are_answered_among_the_others(ending):
    questions = [({"role": "system", "content": "Be brief."}, *negatives(1)[0]), *negatives(5)]
    chats = written(*ending, questions=questions)
    given = [chat[:-1] for chat in chats if chat[:-1] in questions]
    assert 3 <= len(given) <= len(questions) and set(map(str, given)) <= set(map(str, questions))
    assert [chat[:-1] for chat in chats][-len(given) :] != given  # a part of a run has of all


def test_where_the_users_turn_ends_without_a_token_of_its_own_it_ends_too(ending):
    model, tokenizer = ending
    bracketed = tiny_tokenizer()
    bracketed.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    )
    ids, closed = user_slot(bracketed)
    assert bracketed.decode(ids) == "[INST] " and closed == " [/INST]"
    assert all("[/INST]" not in chat[0]["content"] for chat in written(model, bracketed))
    assert user_slot(tokenizer)[1] == "<|im_end|>\n<|im_start|>assistant\n"


def test_in_harmony_a_user_speaks_behind_the_header_of_a_user(harmony):
    ids, closed = user_slot(harmony)
    assert harmony.decode(ids).endswith("<|end|><|start|>user<|message|>")
    assert closed == "<|end|><|start|>assistant"


@pytest.mark.parametrize("thinks", [True, False])
def test_in_harmony_both_sides_are_written_with_and_without_a_thought(harmony, thinks):
    model = tiny_model("gpt_oss", vocab_size=len(harmony), max_position_embeddings=512)
    ends = harmony.convert_tokens_to_ids(["<|end|>", "<|return|>"])
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.weight.mul_(0.1)
    more = torch.zeros(len(harmony))
    more[ends] = float(np.log(len(harmony) / 16))  # about every ninth token ends a turn
    head.register_forward_hook(lambda _m, _i, out: out + more)
    chats = written(model, harmony, n=2, questions=negatives(3), thinks=thinks, thought_tokens=9)
    assert 1 <= len(chats) <= 5
    asked = {prompt[0]["content"] for prompt in negatives(3)}
    assert {chat[0]["content"] in asked for chat in chats} == {True, False}
    assert {bool(chat[-1].get("thinking")) for chat in chats} <= {thinks, False}
    assert any(chat[-1].get("thinking") for chat in chats) == thinks
    for ids, chat in zip(Encoder(harmony).encode_texts(chats), chats, strict=True):
        text = harmony.decode(ids)
        assert f"<|start|>user<|message|>{chat[0]['content']}<|end|>" in text
        assert ("<|channel|>analysis<|message|>" in text) == bool(chat[-1].get("thinking"))
        assert f"<|channel|>final<|message|>{chat[-1]['content']}" in text


def test_a_reasoning_model_thinks_before_it_answers():
    tokenizer = thinking_tokenizer(next(iter(THINKING_TEMPLATES)))
    model = tiny_model("llama", vocab_size=len(tokenizer))
    given = {"n": 0, "questions": negatives(6), "thought_tokens": 6}
    chats = written(model, tokenizer, **given)
    assert chats and all(chat[-1]["thinking"] for chat in chats)
    silent = written(model, tokenizer, thinks=False, **given)
    assert silent and not any("thinking" in chat[-1] for chat in silent)
    texts = [tokenizer.decode(ids) for ids in Encoder(tokenizer).encode_texts(chats)]
    for text, chat in zip(texts, chats, strict=True):
        assert chat[-1]["thinking"].strip() in text and chat[-1]["content"] in text


def test_they_are_written_and_read_as_texts(ending, tmp_path):
    chats = written(*ending)
    write_texts(tmp_path / "new" / "chats.jsonl", [*chats, "plain"])
    again = read_texts(tmp_path / "new" / "chats.jsonl")
    assert again[-1] == "plain" and [list(chat) for chat in again[:-1]] == list(map(list, chats))


def test_an_answer_is_kept_with_its_end_where_it_fits():
    tokenizer = tiny_tokenizer()
    chat = ({"role": "user", "content": "red?"}, {"role": "assistant", "content": "blue"})
    encoder = Encoder(tokenizer)
    (ids,) = encoder.encode_texts([chat])
    assert tokenizer.decode(ids).endswith("assistant\nblue<|im_end|>")
    assert encoder.encode_texts([chat], len(ids) - 1) == [ids[:-1]]
    (asked,) = encoder.encode_texts([chat[:1]])
    assert tokenizer.decode(asked).endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": -1}, "n is -1, expected 1 or more, or questions"),
        ({"n": 0}, "n is 0, expected 1 or more, or questions"),
        ({"questions": ["red?"]}, "question 0 .'red\\?'. isn't messages of which the last is a u"),
        ({"questions": [({"role": "assistant", "content": "I"},)]}, "isn't messages of which the"),
        ({"answer_tokens": 0}, "answer_tokens is 0, expected 1 or more"),
    ],
)
def test_what_cannot_be_is_named(given, message):
    with pytest.raises(ConfigError, match=message):
        dm.OwnChats(**given)


def test_a_model_that_writes_no_short_messages_is_told_of(ending):
    with pytest.raises(DataError, match="different messages of users in 20 rounds, expected 400"):
        written(ending[0], ending[1], n=400, user_tokens=1, batch_size=400)


def test_without_a_template_nothing_tells_a_users_message(ending):
    with pytest.raises(DataError, match="has no chat template"):
        written(ending[0], tiny_tokenizer(chat=False))
