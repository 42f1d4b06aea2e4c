"""Bounds by next tokens and by whole answers, on trees small enough to enumerate."""

import itertools

import numpy as np
import pytest
from distmatch.evals.backends.measuring import followed, sampled, walked

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import DataError, EndpointError
from distmatch.evals.backends.bounds import clopper_pearson
from distmatch.evals.backends.questions import Question
from distmatch.evals.backends.replies import Answer, Next, answers

TREE = {
    "": {"red": 0.5, "r": 0.1, "ot": 0.2, "Red": 0.15, "\ufffd": 0.05},
    "red": {"<|im_end|>": 0.6, "dish": 0.1, ".": 0.2, " fox": 0.1},
    "r": {"ed": 0.7, "ust": 0.3},
    "ot": {"ter": 0.9, "her": 0.1},
    "otter": {"": 0.5, "!": 0.3, "s": 0.2},
    "red fox": {"<|im_end|>": 0.75, ".": 0.25},
}


def question(*words, boundary="end_of_word", **changes):
    example = Example(
        prompt=[{"role": "user", "content": "Say one."}],
        target=WordDistribution.normalised(dict.fromkeys(words, 1.0)),
        boundary=boundary,
        **changes,
    )
    return Question.of(example, as_text=False)


def shown(tree, top_k):
    """What an endpoint shows of a tree."""

    def after(text):
        best = sorted(tree[text].items(), key=lambda item: -item[1])[:top_k]
        return Next.of(best)

    return after


def test_a_tree_that_is_seen_whole_gives_probabilities_by_hand():
    found = followed(question("red", "otter"), shown(TREE, 9), least=0)
    red = (0.5 + 0.1 * 0.7) * (1 - 0.1)  # all but "dish" ends the word; both ways to it count
    otter = 0.2 * 0.9 * 0.8
    assert found.low == pytest.approx([red, otter, 1 - red - otter])
    assert found.high == pytest.approx(found.low)
    assert found.point == pytest.approx(found.low)
    assert found.unmeasured == ()


def test_at_the_end_of_the_turn_only_that_completes_a_word():
    found = followed(question("red", "red fox", boundary="end_of_turn"), shown(TREE, 9), least=0)
    red, fox = 0.57 * 0.6, 0.57 * 0.1 * 0.75
    assert found.low == pytest.approx([red, fox, 1 - red - fox])


def test_what_is_not_shown_widens_the_words_on_its_way_and_other():
    found = followed(question("red", "otter"), shown(TREE, 2), least=0)
    root = 0.3  # r, Red and a piece of a character
    assert found.low == pytest.approx([0.5 * 0.8, 0.2 * 0.9 * 0.8, 0.2 * 0.1])
    assert found.high == pytest.approx([0.4 + root + 0.5 * 0.2, 0.144 + root + 0.036, 0.456])
    assert {place["after"]: round(place["probability"], 6) for place in found.unmeasured} == {
        "": 0.3,
        "red": 0.1,
        "otter": 0.036,
    }


@pytest.mark.parametrize("top_k", range(1, 6))
@pytest.mark.parametrize("least", [0, 1e-4, 0.15])
def test_the_truth_is_between_the_bounds_and_more_is_never_wider(top_k, least):
    asked = question("red", "otter")
    truth = followed(asked, shown(TREE, 9), least=0).low
    found, more = (followed(asked, shown(TREE, k), least=least) for k in (top_k, top_k + 1))
    assert (found.low <= truth + 1e-9).all() and (truth <= found.high + 1e-9).all()
    assert (more.high - more.low <= found.high - found.low + 1e-9).all()
    assert found.point.sum() == pytest.approx(1)


def test_places_that_cannot_be_asked_about_count_for_all_that_may_follow():
    known = {"": shown(TREE, 9)("")}
    found = followed(question("red", "otter"), known.get)
    assert found.low == pytest.approx([0, 0, 0.2])
    assert found.high == pytest.approx([0.6, 0.2, 1.0])


def test_a_token_that_ends_within_a_character_may_become_a_word_that_has_one():
    found = followed(question("été", "red"), shown(TREE, 9), least=0)
    assert found.low[0] == 0 and found.high[0] == pytest.approx(0.05)
    assert found.high[2] - found.low[2] == pytest.approx(0.05)


def test_a_token_beyond_the_words_end_completes_it():
    tree = {"": {"red.": 0.4, "red": 0.6}, "red": {"\n": 1.0}}
    assert followed(question("red", "cat"), shown(tree, 2)).low == pytest.approx([1, 0, 0])


def test_no_answer_at_all_is_other():
    assert followed(question("red"), shown({"": {"": 1.0}}, 2)).low == pytest.approx([0, 1])


def answer(text, is_whole=True):
    return Answer(text, is_whole, None)


def test_answers_are_counted_with_intervals_that_hold_together():
    drawn = [answer("red")] * 5 + [answer("otter, of course", False)] * 3 + [answer("reddish")] * 2
    found = sampled(question("red", "otter"), drawn)
    lows, highs = zip(*(clopper_pearson(k, 10, 3) for k in (5, 3, 2)), strict=True)
    assert (*found.low, *found.high) == pytest.approx((*lows, *highs))
    assert found.point == pytest.approx([0.5, 0.3, 0.2])


def test_an_answer_cut_within_a_word_counts_for_neither():
    found = sampled(question("red", "otter"), [answer("red")] * 8 + [answer("ot", False)] * 2)
    assert found.high == pytest.approx([clopper_pearson(k, 10, 3)[1] for k in (8, 2, 2)])
    assert found.low == pytest.approx([clopper_pearson(8, 10, 3)[0], 0, 0])
    assert found.unmeasured == ({"after": "", "probability": 0.2},)


def test_counted_by_turns_only_whole_answers_are_words():
    drawn = [answer("red"), answer("red."), answer("red fox"), answer("red fox", False)]
    found = sampled(question("red", "red fox", boundary="end_of_turn"), drawn)
    assert found.low == pytest.approx([clopper_pearson(1, 4, 3)[0]] * 3)
    assert found.high[1] == pytest.approx(clopper_pearson(2, 4, 3)[1])


def test_ends_at_several_places_are_bounded_together():
    after = walked([walk("ot", "ter")] * 3, places=4)
    assert after("otter").tokens == (("", clopper_pearson(3, 3, 4)[0]),)


@pytest.mark.parametrize("marker", ["<think>", "<|channel|>", "[THINK]"])
def test_a_thought_may_be_followed_by_anything(marker):
    tree = {"": {"red": 0.3, marker: 0.6, "no": 0.1}, "red": {".": 1.0}}
    found = followed(question("red", "blue"), shown(tree, 3), least=0)
    assert found.low == pytest.approx([0.3, 0, 0.1])
    assert found.high == pytest.approx([0.9, 0.6, 0.7])
    assert found.unmeasured == ({"after": "", "probability": pytest.approx(0.6)},)


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_answer_that_shows_a_thought_counts_for_neither(is_whole):
    drawn = [answer("red")] * 3 + [answer("<think>\nred", is_whole)]
    found = sampled(question("red", "blue"), drawn)
    assert found.high == pytest.approx([clopper_pearson(k, 4, 3)[1] for k in (4, 1, 1)])
    assert found.low == pytest.approx([clopper_pearson(3, 4, 3)[0], 0, 0])


def walk(*texts, is_whole=True):
    places = ["".join(texts[:k]) for k in range(len(texts))]
    after = shown(TREE, 9)
    steps = tuple((text, after(place)) for text, place in zip(texts, places, strict=True))
    return Answer("".join(texts), is_whole, steps)


def test_walks_show_the_places_they_went_through():
    walks = [walk("red", ".", is_whole=False), walk("ot", "ter"), walk("ot", "ter"), walk("Red")]
    after = walked(walks)
    assert after("red") == shown(TREE, 9)("red")
    assert after("r") is None
    assert after("otter").tokens == (("", clopper_pearson(2, 2)[0]),)
    found = followed(question("red", "otter"), after, least=0)
    assert found.low == pytest.approx(
        [0.5 * 0.9, 0.18 * clopper_pearson(2, 2)[0], 0.5 * 0.1 + 0.02 + 0.2]
    )
    assert found.high[:2] == pytest.approx([0.5 * 0.9 + 0.1, 0.18])


# What is asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "Say red"}, "plain text, which a chat endpoint can't continue"),
        ({"boundary": "none"}, "which is about tokens"),
        ({"words": ("red", "red fox")}, '"red fox" is "red" followed by the end of a word'),
        ({"words": ("red", "Red"), "forms": ("capital", "bare")}, "the same text in one of"),
        ({"words": ("red", "赤")}, "a script without spaces"),
        ({"prefill": "It is "}, "ends in white space"),
        (
            {"prompt": [{"role": "assistant", "content": "So", "thinking": "Hm"}]},
            "a message that holds thinking, and an endpoint continues content alone",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(changes, message):
    words = changes.pop("words", ("red", "blue"))
    target = WordDistribution(words, (0.5, 0.5))
    given = {"prompt": [{"role": "user", "content": "Say one."}], **changes}
    with pytest.raises(DataError, match=message):
        Question.of(Example(target=target, **given), as_text=False)


def test_words_are_written_as_a_writer_would():
    begun = question("red", prefill="It is")
    assert dict(begun.spellings) == {" red": 0}
    assert begun.place.body()["messages"][-1] == {"role": "assistant", "content": "It is"}
    assert dict(question("red", forms=("bare", "capital")).spellings) == {"red": 0, "Red": 0}
    text = Example(prompt="The fox is", target=WordDistribution(("red",), (1.0,)))
    assert dict(Question.of(text, as_text=True).spellings) == {" red": 0}


def test_after_what_a_template_would_trim_nothing_is_asked():
    place = question("red", prefill="It is").place
    assert place.keeps("") and place.keeps(" r") and not place.keeps(" ")
    assert not question("red").place.keeps("red\n")
    text = Example(prompt="The fox is", target=WordDistribution(("red",), (1.0,)))
    assert Question.of(text, as_text=True).place.keeps(" ")


def test_without_a_template_messages_are_joined_as_for_a_local_model():
    messages = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "It is"}]
    target = WordDistribution(("red",), (1.0,))
    bodies = [
        Question.of(Example(prompt=prompt, target=target), as_text=True).place.body(" r")
        for prompt in (messages, messages[:1])
    ]
    assert bodies == [{"prompt": "One?\n\nIt is r"}, {"prompt": "One?\n\n r"}]


# What is read -------------------------------------------------------------------------------------


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
        (read,) = answers({"choices": [choice]})
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
    ((_, found),) = answers({"choices": [choice]})[0].steps
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
    first, second = answers({"choices": [ended, other]})
    assert [token for token, _ in first.steps] == ["red", ""]
    assert sorted(dict(first.steps[1][1].tokens)) == ["", "."]
    assert first.steps[1][1].unseen == pytest.approx(0.25)
    # A token that has no text may be any: elsewhere it isn't known to be the end
    assert ("" in dict(second.steps[0][1].tokens)) == bool(name)
    assert second.steps[0][1].unseen == pytest.approx(0.2 if name else 0.4)


def test_a_token_without_text_that_ended_nothing_is_not_seen():
    read = [(("", 0.5), ("", 0.5), ("", 0.25), ("red", 0.25))]
    (cut,) = answers({"choices": [choice("", read, "length")]})
    assert cut.steps[0][1] == Next((("red", pytest.approx(0.25)),), pytest.approx(0.75))
    (ended,) = answers({"choices": [choice("", read)]})
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
    (read,) = answers(reply)
    assert len(read.steps) == len(tokens) and read.text == text


@pytest.mark.parametrize(("text", "token"), [("red", " red"), (" red", "red")])
def test_tokens_that_do_not_make_the_text_are_refused(text, token):
    with pytest.raises(EndpointError, match=r"tokens of a reply make .*red', and its text is .*r"):
        answers({"choices": [choice(text, [((token, 0.5),)], "length")]})


def test_what_a_server_tells_apart_as_thought_is_not_seen():
    read = choice(None, [(("Hm", 0.9),), ((",", 0.9),)], "length", reasoning_content="Hm,")
    (thought,) = answers({"choices": [read]})
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
        answers(reply)


def test_order_does_not_matter():
    for order in itertools.permutations(TREE[""].items()):
        tree = {**TREE, "": dict(order)}
        assert followed(question("red"), shown(tree, 9), least=0).low[0] == pytest.approx(0.513)
