"""Endpoints that fail, limits, what is kept, and keys that are seen nowhere."""

import gc
import json
import logging
import os
import signal
import socket
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from distmatch.errors import BudgetError, ConfigError, DataError, EndpointError, MissingExtraError
from distmatch.evals import Endpoint, Limits
from distmatch.evals.backends.cache import Cache, request_key
from distmatch.evals.backends.client import Client
from distmatch.evals.backends.replies import reply_answers
from tests.evals.backends.serving import SOON, serving
from tests.tiny import tiny_model, tiny_tokenizer

BODY = {"model": "tiny", "prompt": "The red", "max_tokens": 2, "seed": 0}
SECRET = "sk-very-secret-4711"


@pytest.fixture(scope="module")
def served():
    with serving(tiny_model("llama"), tiny_tokenizer()) as server:
        yield server


@pytest.fixture
def server(served):
    for kept in (served.asked, served.faults, served.authorizations):
        kept.clear()
    yield served
    served.faults.clear()


def client(server, cache=None, key_env=None, **limits):
    limits = Limits(**{"retries": 2, "timeout": 10, **limits})
    return Client(server.url, "/completions", key_env, limits, cache)


SAID = [
    {"error": {"message": "no, HEADER", "code": 502}},
    {"error": {"message": "no", "code": "429"}},
    {"error": "overloaded"},
    {"error": {"message": "no", "type": "overloaded_error"}},
    {"object": "error", "message": "no", "code": 503},
    {"choices": [{"finish_reason": "error", "error": {"code": 500, "message": "no"}}]},
]
"""Errors with a status of success."""


@pytest.mark.parametrize("fault", [429, 500, 503, 408, "truncated", "broken off", *SAID])
def test_what_may_pass_is_tried_again(server, fault):
    expected = client(server).ask(BODY, reply_answers)
    server.asked.clear()
    server.faults += [fault, fault]
    assert client(server).ask(BODY, reply_answers) == expected
    assert server.asked == [BODY] * 3


def test_what_takes_too_long_is_tried_again(server):
    server.faults += ["slow"]
    assert client(server, timeout=SOON).ask(BODY, reply_answers)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (429, r"refused with 429 .*Limits\.parallel"),
        (500, "refused with 500 .*go on later"),
        ("truncated", "the reply was cut short or is no JSON, 2 times"),
        ("broken off", "no connection .*, 2 times: is it running"),
        (SAID[0], r"refused with 502 \(no, Bearer none\): go on later, 2 times"),
        (SAID[2], r"refused with an error \(overloaded\)"),
        ("slow", f"no answer within {SOON:g} s, 2 times: allow it more time"),
    ],
)
def test_what_never_passes_says_so(server, fault, message):
    server.faults += [fault] * 2
    with pytest.raises(EndpointError, match=message):
        client(server, retries=1, timeout=SOON).ask(BODY, reply_answers)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (400, "refused with 400 .*check the model's name"),
        (401, "refused with 401 .*a valid key"),
        (404, "refused with 404 .*usually ends in /v1"),
        ({"error": {"message": "no", "code": 401}}, "refused with 401 .*a valid key"),
        ({"error": {"message": "no", "code": 400}, "choices": []}, "refused with 400"),
        ({"error": {"message": "no", "code": "model_not_found"}}, "refused with 400"),
        ({"error": {"message": "no", "code": None, "status": 404}}, "refused with 404"),
        ("no object", r"the reply is no object but \[1\]"),
        ("odd", r"another form than OpenAI's .*\{'choices': 1\}"),
    ],
)
def test_what_is_wrong_is_not_tried_again(server, fault, message, tmp_path):
    server.faults += [fault]
    with pytest.raises(EndpointError, match=message):
        client(server, tmp_path / "replies.jsonl").ask(BODY, reply_answers)
    assert len(server.asked) == 1
    assert not (tmp_path / "replies.jsonl").exists()


@pytest.mark.parametrize("fault", [500, "truncated", "slow"])
def test_what_is_tried_again_counts_as_a_request(server, fault):
    server.faults += [fault] * 3
    with pytest.raises(BudgetError, match="limit of 2 requests is reached"):
        client(server, requests=2, retries=5, timeout=SOON).ask(BODY, reply_answers)
    assert len(server.asked) == 2


def test_a_client_is_closed_when_nobody_has_it(server):
    asking = client(server)
    gone = weakref.ref(asking)
    del asking
    gc.collect()
    assert gone() is None


def test_an_endpoint_that_is_down_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    down = Client(url, "/completions", None, Limits(retries=0), None)
    with pytest.raises(EndpointError, match=rf"{url}/completions: no connection .*is it running\?"):
        down.ask(BODY, reply_answers)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000", 'the endpoint is "localhost:8000", expected a URL such as http'),
        ("ftp://a/v1", "expected a URL"),
        ("http://me:pass@host/v1", "at host holds a user, password or query"),
        ("http://host/v1?key=pass", "at host holds a user, password or query"),
        ("http://[::1", r'the endpoint is "http://\[::1", expected a URL'),
        ("http://h:abc/v1", 'the endpoint is "http://h:abc/v1", expected a URL'),
        ("http://me:pass@h:abc/v1", r'the endpoint is "\.\.\.", expected a URL'),
    ],
)
def test_urls_that_cannot_be_used_are_refused_without_repeating_secrets(url, message):
    with pytest.raises(ConfigError, match=message) as refused:
        Endpoint(model="tiny", url=url)
    assert "pass@" not in str(refused.value) and "=pass" not in str(refused.value)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"requests": 0}, "requests is 0, expected at least 1"),
        ({"tokens": 0}, "tokens is 0"),
        ({"parallel": 0}, "parallel is 0"),
        ({"retries": -1}, "retries is -1"),
        ({"timeout": 0}, "timeout is 0"),
    ],
)
def test_limits_that_allow_nothing_are_refused(limits, message):
    with pytest.raises(ConfigError, match=message):
        Limits(**limits)


def test_without_the_extra_its_name_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r'pip install "distmatch\[endpoints\]"'):
        Client("http://localhost/v1", "/completions", None, Limits(), None)


# Keys ---------------------------------------------------------------------------------------------


def test_a_key_comes_from_the_environment_and_is_seen_nowhere(
    server, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("MY_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    cache = tmp_path / "replies.jsonl"
    asking = client(server, cache, key_env="MY_KEY")
    assert asking.ask(BODY, reply_answers)
    assert server.authorizations == [f"Bearer {SECRET}"]
    server.faults += [401]
    with pytest.raises(EndpointError) as refused:  # the server repeats the header
        asking.ask(BODY | {"seed": 1}, reply_answers)
    assert "your header was Bearer ***" in str(refused.value)
    endpoint = Endpoint(model="tiny", url=server.url, key_env="MY_KEY", cache=cache)
    seen = [cache.read_text(), caplog.text, str(refused.value), repr(asking), repr(endpoint)]
    seen += [json.dumps(endpoint.record()), repr(refused.value.__context__)]
    assert caplog.text and not any(SECRET in text for text in seen)


def test_openais_key_is_sent_to_nobody_else(server, monkeypatch):
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"OPENAI_{name}", SECRET)
    headers = f"Authorization: Bearer {SECRET}\nX-Mine: {SECRET}"
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", headers)
    assert client(server).ask(BODY, reply_answers)
    assert server.authorizations == ["Bearer none"]
    assert SECRET not in str(server.headers)
    monkeypatch.setenv("MY_KEY", "mine")
    assert client(server, key_env="MY_KEY").ask(BODY, reply_answers)
    assert server.authorizations[1:] == ["Bearer mine"]
    assert SECRET not in str(server.headers)


ODD_SECRETS = ['sk-"quoted"-4711', r"sk-back\slash-4711", "sk-'single'-4711", "sk-&/?%20-4711"]


@pytest.mark.parametrize("key", [SECRET, *ODD_SECRETS])
def test_a_key_that_a_server_repeats_is_written_nowhere(key, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{key}\r\n")  # as a file ends that it is read from
    cache = tmp_path / "replies.jsonl"
    asking = client(server, cache, key_env="MY_KEY", retries=0)
    heard = {"choices": [{"text": f"Bearer {key}", "finish_reason": "stop"}], key: [key]}
    server.faults += [heard]
    (answer,) = asking.ask(BODY, reply_answers)
    assert server.authorizations == [f"Bearer {key}"]
    assert answer.text == "Bearer ***"
    assert "4711" not in cache.read_text() and "***" in cache.read_text()
    for number, fault in enumerate([{"error": {"message": key, "code": 500}}, {key: repr(key)}]):
        server.faults += [fault]
        with pytest.raises(EndpointError) as refused:
            asking.ask(BODY | {"seed": number + 1}, reply_answers)
        assert "4711" not in str(refused.value) and "***" in str(refused.value)


def test_a_long_key_of_letters_alone_is_written_nowhere(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "abcdefghijklmnopqrstuvwxyz")
    asking = client(server, tmp_path / "replies.jsonl", key_env="MY_KEY")
    server.faults += [{"choices": [{"text": "HEADER", "finish_reason": "stop"}]}]
    assert asking.ask(BODY, reply_answers)[0].text == "Bearer ***"
    assert "abcdef" not in (tmp_path / "replies.jsonl").read_text()


@pytest.mark.parametrize("key", ["no", "EMPTY", "tomorrow"])
def test_a_key_that_may_be_a_word_changes_no_answer(key, server, monkeypatch):
    monkeypatch.setenv("MY_KEY", key)
    server.faults += [{"choices": [{"text": f"{key}, not {key}", "finish_reason": "stop"}]}]
    (answer,) = client(server, key_env="MY_KEY").ask(BODY, reply_answers)
    assert answer.text == f"{key}, not {key}"


@pytest.mark.parametrize(
    "key", ["sk-sécret-4711", "sk-4711\n\rX-Mine: 1", "\ufeffsk-4711", "sk-\x004711"]
)
def test_a_key_that_no_header_holds_is_refused_unseen(key, server, monkeypatch):
    monkeypatch.setattr("os.environ", {**os.environ, "MY_KEY": key})  # the system takes no zero
    with pytest.raises(ConfigError, match="MY_KEY holds characters that no header can") as refused:
        client(server, key_env="MY_KEY")
    assert "4711" not in str(refused.value)


@pytest.mark.parametrize("before", range(290, 301))
def test_no_part_of_a_key_is_shown_where_a_message_is_cut(server, monkeypatch, before):
    monkeypatch.setenv("MY_KEY", SECRET)
    asking = client(server, key_env="MY_KEY")
    assert "sk-" not in asking.shown("x" * before + SECRET)
    with pytest.raises(EndpointError) as refused:
        reply_answers({"x" * (before - 2) + SECRET: 1}, asking.shown)
    assert "sk-" not in str(refused.value)


def test_a_key_that_is_not_there_is_asked_for(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH_KEY holds no key for http"):
        client(server, key_env="NO_SUCH_KEY")
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY holds no key for https://api.openai"):
        _ = Endpoint(model="gpt").client


# What is kept -------------------------------------------------------------------------------------


def test_nothing_is_asked_twice(server, tmp_path):
    cache = tmp_path / "deep" / "replies.jsonl"
    first = client(server, cache).ask(BODY, reply_answers)
    again = client(server, cache)
    assert again.ask(dict(reversed(BODY.items())), reply_answers) == first
    assert len(server.asked) == 1
    again.ask(BODY | {"seed": 1}, reply_answers)
    assert len(server.asked) == 2
    assert len(cache.read_text().splitlines()) == 2


def test_what_is_asked_twice_at_once_is_sent_once(server, tmp_path):
    asking = client(server, tmp_path / "replies.jsonl")
    server.faults += ["late"]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: asking.ask(BODY, reply_answers), range(4)))
    assert len(server.asked) == 1 and found == [found[0]] * 4
    assert len((tmp_path / "replies.jsonl").read_text().splitlines()) == 1


def test_another_draw_of_the_same_request_is_another_reply(server):
    asking = client(server)
    for draw in (0, 1, 1):
        asking.ask(BODY, reply_answers, draw)
    assert server.asked == [BODY] * 2


def test_half_a_character_is_kept_as_it_came(tmp_path):
    path = tmp_path / "replies.jsonl"
    Cache(path).keep(request_key("http://a/v1", {"prompt": "\ud83d"}), {"text": "\ud83d é"})
    assert Cache(path).get(request_key("http://a/v1", {"prompt": "\ud83d"}))["text"] == "\ud83d é"


def test_a_line_torn_by_a_kill_is_asked_again(tmp_path):
    path = tmp_path / "replies.jsonl"
    for number in range(3):
        Cache(path).keep(str(number), {"value": number})
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:cut])
        kept = Cache(path)
        there = [n for n in range(3) if kept.get(str(n))]
        assert there == list(range(len(there)))
        for number in range(len(there), 3):
            kept.keep(str(number), {"value": number})
        assert [Cache(path).get(str(n)) for n in range(3)] == [{"value": n} for n in range(3)]


def test_two_may_keep_replies_in_one_file_though_one_was_torn(tmp_path):
    path = tmp_path / "replies.jsonl"
    first, second = Cache(path), Cache(path)
    first.keep("1", {"value": 1})
    second.keep("2", {"value": 2})
    with path.open("ab") as file:
        file.write(b'{"key": "3", "rep')
    second.keep("4", {"value": 4})
    first.keep("5", {"value": 5})
    there = [n for n in range(1, 6) if Cache(path).get(str(n))]
    assert there == [1, 2, 5]  # what was joined to a torn line is asked again


@pytest.mark.parametrize("content", ['{"a": 1}\n', "[]\n", '{\n "a": 1\n}\n', "text\nmore\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    (tmp_path / "notes.json").write_text(content)
    with pytest.raises(DataError, match=r"notes\.json holds something else"):
        Cache(tmp_path / "notes.json")
    assert (tmp_path / "notes.json").read_text() == content


def test_a_request_is_known_by_where_and_what_alone():
    key = request_key("http://a/v1", BODY)
    assert key == request_key("http://a/v1", dict(reversed(BODY.items())))
    others = [("http://b/v1", BODY), ("http://a/v1", BODY | {"seed": 1})]
    assert len({key, *(request_key(*other) for other in others)}) == 3


def test_an_interrupt_waits_for_no_reply(server):
    endpoint = Endpoint(model="tiny", url=server.url, progress=False)
    server.faults += ["held"] * 4
    # As in a shell's foreground; what a script puts behind ignores interrupts
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupting = threading.Thread(target=_interrupt, args=(lambda: len(server.asked) == 4,))
    interrupting.start()
    asked = [BODY | {"seed": seed} for seed in range(4)]
    try:
        with pytest.raises(KeyboardInterrupt):  # else it would wait for ever
            endpoint.each(asked, lambda body: endpoint.client.ask(body, reply_answers), "asked")
    finally:
        server.released.set()
        interrupting.join()
        signal.signal(signal.SIGINT, before)


def _interrupt(is_time):
    while not is_time():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
