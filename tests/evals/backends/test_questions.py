"""What an endpoint is asked for, and as which text."""

import pytest

from distmatch.data import Example, WordDistribution
from distmatch.errors import DataError
from distmatch.evals.backends.questions import WordQuestion
from tests.evals.backends.asking import question


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
        WordQuestion.of(Example(target=target, **given), as_text=False)


def test_words_are_written_as_a_writer_would():
    begun = question("red", prefill="It is")
    assert dict(begun.spellings) == {" red": 0}
    assert begun.place.body()["messages"][-1] == {"role": "assistant", "content": "It is"}
    assert dict(question("red", forms=("bare", "capital")).spellings) == {"red": 0, "Red": 0}
    text = Example(prompt="The fox is", target=WordDistribution(("red",), (1.0,)))
    assert dict(WordQuestion.of(text, as_text=True).spellings) == {" red": 0}


def test_after_what_a_template_would_trim_nothing_is_asked():
    place = question("red", prefill="It is").place
    assert place.keeps("") and place.keeps(" r") and not place.keeps(" ")
    assert not question("red").place.keeps("red\n")
    text = Example(prompt="The fox is", target=WordDistribution(("red",), (1.0,)))
    assert WordQuestion.of(text, as_text=True).place.keeps(" ")


def test_without_a_template_messages_are_joined_as_for_a_local_model():
    messages = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "It is"}]
    target = WordDistribution(("red",), (1.0,))
    bodies = [
        WordQuestion.of(Example(prompt=prompt, target=target), as_text=True).place.body(" r")
        for prompt in (messages, messages[:1])
    ]
    assert bodies == [{"prompt": "One?\n\nIt is r"}, {"prompt": "One?\n\n r"}]
