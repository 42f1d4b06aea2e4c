"""What is read of an endpoint's reply, in either format."""

import numpy as np
import pytest

from distmatch.errors import EndpointError
from distmatch.evals.backends.replies import Next, reply_answers


def test_both_formats_say_the_same():
    half = float(np.log(0.5))
    chat = {
        "content": [
            {
                "token": "é",
                "bytes": [195, 169],
                "logprob": half,
                "top_logprobs": [{"token": "\\xc3", "bytes": [195], "logprob": half}],
            }
        ]
    }
    text = {
        "tokens": ["bytes:\\xc3\\xa9"],
        "token_logprobs": [half],
        "top_logprobs": [{"bytes:\\xc3": half}],
    }
    expected = (("é", Next((("\ufffd", 0.5), ("é", 0.5)), 0.0)),)
    for choice in (
        {"message": {"content": "é"}, "finish_reason": "length", "logprobs": chat},
        {"text": "é", "finish_reason": "length", "logprobs": text},
    ):
        (read,) = reply_answers({"choices": [choice]})
        assert (read.text, read.is_whole) == ("é", False)
        ((token, found),) = read.steps
        assert token == expected[0][0]
        assert dict(found.tokens) == pytest.approx(dict(expected[0][1].tokens))


def test_pieces_of_characters_are_added_up_and_not_lost():
    quarter = float(np.log(0.25))
    logprobs = {
        "tokens": ["bytes:\\xc3"],
        "token_logprobs": [quarter],
        "top_logprobs": [{"bytes:\\xc3": quarter, "bytes:\\xe2": quarter, "a": 2 * quarter}],
    }
    choice = {"text": "", "finish_reason": "length", "logprobs": logprobs}
    ((_, found),) = reply_answers({"choices": [choice]})[0].steps
    assert [text for text, _ in found.tokens] == ["\ufffd", "\ufffd", "a"]
    assert found.unseen == pytest.approx(1 - 0.25 - 0.25 - 0.0625)


def choice(text, steps, reason="stop", **message):
    """A chat's choice, of tokens with what else stood there."""

    def told(token, prob):
        raw = token if isinstance(token, bytes) else token.encode()
        shown = raw.decode(errors="replace")
        return {"token": shown, "bytes": list(raw), "logprob": float(np.log(prob))}

    content = [{**told(*own), "top_logprobs": [told(*pair) for pair in top]} for own, *top in steps]
    message = {"content": text, **message}
    return {"message": message, "finish_reason": reason, "logprobs": {"content": content}}


@pytest.mark.parametrize("name", ["<|eot|>", "<|no_one_knows_this|>", ""])
def test_what_ended_an_answer_is_an_end_whatever_it_is_called(name):
    ended = choice("red", [(("red", 0.5), ("red", 0.5)), ((name, 0.5), (name, 0.5), (".", 0.25))])
    other = choice("re", [(("re", 0.1), ("red", 0.5), (name, 0.2))], "length")
    first, second = reply_answers({"choices": [ended, other]})
    assert [token for token, _ in first.steps] == ["red", ""]
    assert sorted(dict(first.steps[1][1].tokens)) == ["", "."]
    assert first.steps[1][1].unseen == pytest.approx(0.25)
    # A token that has no text may be any: elsewhere it isn't known to be the end
    assert ("" in dict(second.steps[0][1].tokens)) == bool(name)
    assert second.steps[0][1].unseen == pytest.approx(0.2 if name else 0.4)


def test_a_token_without_text_that_ended_nothing_is_not_seen():
    read = [(("", 0.5), ("", 0.5), ("", 0.25), ("red", 0.25))]
    (cut,) = reply_answers({"choices": [choice("", read, "length")]})
    assert cut.steps[0][1] == Next((("red", pytest.approx(0.25)),), pytest.approx(0.75))
    (ended,) = reply_answers({"choices": [choice("", read)]})
    assert dict(ended.steps[0][1].tokens) == pytest.approx({"red": 0.25, "": 0.5})


@pytest.mark.parametrize(
    ("text", "tokens", "reason"),
    [
        ("é", [b"\xc3", b"\xa9"], "length"),
        ("", [b"\xc3"], "length"),
        ("r\ufffd", ["r", b"\xc3"], "length"),
        ("red", ["red", "."], "stop"),  # a stop text, or an end
        ("red", ["re", "d"], "stop"),  # an end that isn't shown
        ("re", ["re", "<"], "length"),  # held back
        ("red", ["<think>", "so", "</think>", "red"], "stop"),
    ],
)
def test_tokens_that_make_the_text_are_read(text, tokens, reason):
    reply = {"choices": [choice(text, [((token, 0.5),) for token in tokens], reason)]}
    (read,) = reply_answers(reply)
    assert len(read.steps) == len(tokens) and read.text == text


@pytest.mark.parametrize(
    ("text", "tokens", "ends"),
    [
        ("red fox.", ["red", " fox", ".", "<|im_end|>"], (0, 3, 7, 8)),
        ("red", ["red", "."], (0, 3)),  # a stop text
        ("red", ["red", ""], (0, 3)),  # an end without text
        ("", ["<|im_end|>"], (0,)),
        ("a été", ["a", b" \xc3", b"\xa9", "t", b"\xc3\xa9"], (0, 1, 3, 4, 5)),
        ("é sees", ["\ufffd", "\ufffd", " sees"], (0, 6)),  # pieces without bytes
        ("é sees", ["", "é", " sees"], (0, 1, 6)),  # nor text
        ("red", ["<think>", "so", "</think>", "red"], (0, 3)),
    ],
)
def test_a_text_ends_where_its_tokens_do(text, tokens, ends):
    reply = {"choices": [choice(text, [((token, 0.5),) for token in tokens])]}
    (read,) = reply_answers(reply)
    assert (read.text, read.ends) == (text, ends)


def test_tokens_of_a_thought_are_none_of_the_texts():
    told = choice("red", [(("red", 0.5),), ((" herring", 0.5),)], reasoning_content="red herring")
    (read,) = reply_answers({"choices": [told]})
    assert (read.text, read.ends) == ("red", (0, 3))


@pytest.mark.parametrize(("text", "token"), [("red", " red"), (" red", "red")])
def test_tokens_that_do_not_make_the_text_are_refused(text, token):
    with pytest.raises(EndpointError, match=r"tokens of a reply make .*red', and its text is .*r"):
        reply_answers({"choices": [choice(text, [((token, 0.5),)], "length")]})


def test_what_a_server_tells_apart_as_thought_is_not_seen():
    read = choice(None, [(("Hm", 0.9),), ((",", 0.9),)], "length", reasoning_content="Hm,")
    (thought,) = reply_answers({"choices": [read]})
    assert thought.steps == (("", Next((), 1.0)),)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [{"finish_reason": "stop"}]},
        {"choices": [{"text": "x", "logprobs": {"content": [{"token": "x"}]}}]},
        {
            "choices": [
                {
                    "text": "x",
                    "logprobs": {
                        "tokens": ["x"],
                        "token_logprobs": [0.0],
                        "top_logprobs": [{"x": 0.0, "y": 0.0}],
                    },
                }
            ]
        },
    ],
)
def test_a_reply_of_another_form_is_shown(reply):
    with pytest.raises(EndpointError, match="another form than OpenAI's"):
        reply_answers(reply)


@pytest.mark.parametrize("reason", ["stop", "eos", "eos_token", "end", "end_turn", "EOS", None])
def test_an_answer_is_whole_however_a_server_says_that_it_ended(reason):
    reply = {"choices": [{"text": "red", "finish_reason": reason}]}
    assert reply_answers(reply)[0].is_whole


@pytest.mark.parametrize("reason", ["length", "max_tokens", "content_filter", "tool_calls"])
def test_an_answer_that_was_cut_is_not_whole(reason):
    reply = {"choices": [{"text": "red", "finish_reason": reason}]}
    assert not reply_answers(reply)[0].is_whole
