"""What an endpoint is sent."""

from dataclasses import replace

import pytest

from distmatch.errors import ConfigError
from distmatch.evals import Endpoint
from distmatch.evals.backends.cache import request_key
from tests.evals.backends.teaching import CHATS, TEXTS, measured

DRAWN = {"model": "tiny", "temperature": 1.0, "top_p": 1.0}
A_CHAT = {**DRAWN, "messages": [{"role": "user", "content": "red, blue or otter?"}]}


@pytest.mark.parametrize(
    ("settings", "example", "expected"),
    [
        (
            {},
            CHATS[0],
            {**A_CHAT, "max_tokens": 6, "n": 32, "logprobs": True, "top_logprobs": 20}
            | {"seed": 1432389504},
        ),
        (
            {"top_k": 0, "samples": 3},
            CHATS[0],
            {**A_CHAT, "max_tokens": 6, "n": 3, "seed": 2079846180},
        ),
        (
            {"continues": True, "top_k": 5},
            CHATS[1],
            {
                **A_CHAT,
                "messages": [*A_CHAT["messages"], {"role": "assistant", "content": "It is"}],
                **{"add_generation_prompt": False, "continue_final_message": True},
                **{"max_tokens": 1, "n": 1, "logprobs": True, "top_logprobs": 5},
                "seed": 1685942000,
            },
        ),
        (
            {"api": "completions", "top_k": 5},
            TEXTS[0],
            {**DRAWN, "prompt": "Pick a word: red or otter. The", "max_tokens": 1, "n": 1}
            | {"logprobs": 5, "seed": 1423568614},
        ),
    ],
)
def test_a_request_stays_what_it_was_so_that_what_is_kept_is_found(
    server, settings, example, expected
):
    endpoint = Endpoint(model="tiny", url=server.url, seed=7, **settings)
    measured(endpoint, [example])
    assert server.asked[0] == expected


def test_a_reply_is_found_under_the_name_it_was_kept_by():
    body = {**A_CHAT, "max_tokens": 6, "n": 32, "logprobs": True, "top_logprobs": 20}
    key = request_key("http://localhost:8000/v1/chat/completions", {**body, "seed": 1432389504}, 2)
    assert key == "8b9296b23d196ad6a321bfb125735a3bb6f9fcd077db9855db6245e9ca926c05"


def test_every_request_says_how_it_is_drawn_and_what_else_is_to_be_said(server):
    endpoint = Endpoint(
        model="tiny", url=server.url, extra={"reasoning_effort": "none", "top_p": None}
    )
    measured(endpoint, CHATS[:1])
    (body,) = server.asked
    expected = {"model": "tiny", "temperature": 1.0, "n": 32, "logprobs": True}
    assert expected.items() <= body.items()
    assert 0 <= body["seed"] < 2**31
    assert body["reasoning_effort"] == "none" and "top_p" not in body
    assert server.authorizations == ["Bearer none"]


def test_every_draw_of_every_prompt_has_random_numbers_of_its_own(server):
    endpoint = Endpoint(model="tiny", url=server.url, top_k=0, samples=3, extra={"n": 1})
    asked = (CHATS[0], CHATS[2])
    measured(endpoint, asked)
    seeds = [body["seed"] for body in server.asked]
    assert len(set(seeds)) == 6 and all(0 <= seed < 2**31 for seed in seeds)
    measured(Endpoint(model="tiny", url=server.url, top_k=0, samples=3, extra={"n": 1}), asked)
    assert sorted(body["seed"] for body in server.asked[6:]) == sorted(seeds)
    measured(replace(endpoint, seed=1), asked)
    assert not {body["seed"] for body in server.asked[12:]} & set(seeds)


def test_draws_are_asked_anew_where_no_seed_tells_them_apart(server, tmp_path):
    settings = {"model": "tiny", "url": server.url, "top_k": 0, "samples": 5}
    settings |= {"extra": {"n": 1, "seed": None}, "cache": tmp_path / "replies.jsonl"}
    for _ in range(2):
        measured(Endpoint(**settings), CHATS[:1])
        assert len(server.asked) == 5 and "seed" not in server.asked[0]


def test_what_a_template_is_told_comes_from_example_and_extra(server):
    told = replace(CHATS[0], chat_template_kwargs={"a": 1})
    extra = {"chat_template_kwargs": {"b": 2}}
    measured(Endpoint(model="tiny", url=server.url, extra=extra), [told])
    assert server.asked[0]["chat_template_kwargs"] == {"a": 1, "b": 2}
    with pytest.raises(ConfigError, match=r"those of extra differ in \['b'\]"):
        other = replace(told, chat_template_kwargs={"b": 1})
        measured(Endpoint(model="tiny", url=server.url, extra=extra), [other])
