"""Answers of several words: what prompts say is what targets are."""

import re
from collections import Counter

import pytest

from distmatch.data.tasks.sequence import (
    MOST_STEPS,
    WORDINGS,
    Draw,
    Sequences,
    begun,
    first_word,
    next_step,
)
from distmatch.errors import DataError

BEHIND = re.compile(r'"([^"]+)" (\d+)%')
AHEAD = re.compile(r'(\d+)% "([^"]+)"')


def said(example):
    """Words and percents of a prompt, in their order, each list of alternatives a dict."""
    text = next(m["content"] for m in example.prompt if m["role"] == "user")
    ahead = [(word, int(percent)) for percent, word in AHEAD.findall(text)]
    behind = [(word, int(percent)) for word, percent in BEHIND.findall(text)]
    pairs = ahead or behind
    size = 4 if example.metadata["kind"] == "listed" else 2
    return [dict(pairs[start : start + size]) for start in range(0, len(pairs), size)]


def rows(kind, n=60):
    return Sequences(kinds=(kind,)).draw(n, n_test=1)[0]


def asked(example):
    return dict(zip(example.target.words, example.target.probs, strict=True))


@pytest.mark.parametrize("kind", WORDINGS)
def test_targets_are_what_the_prompts_say(kind):
    for example in rows(kind):
        draws = said(example)
        assert all(sum(draw.values()) == 100 for draw in draws)
        for words, prob in asked(example).items():
            parts = words.split()
            if kind == "listed":
                wanted = draws[0][words] / 100
            elif kind == "chained":
                second = draws[1] if parts[0] == next(iter(draws[0])) else draws[2]
                wanted = draws[0][parts[0]] / 100 * second[parts[1]] / 100
            else:
                wanted = 1.0
                for part, draw in zip(parts, draws, strict=True):
                    wanted *= draw[part] / 100
            assert prob == pytest.approx(wanted)


def test_what_follows_a_first_word_is_named_with_it():
    for example in rows("chained"):
        text = example.prompt[-1]["content"].casefold()
        first, second = said(example)[0]
        assert text.index(f'after "{first}"') < text.index(f'after "{second}"')


def test_rotated_numbers_ask_for_the_rotated_target():
    for example in rows("listed", 10):
        for rotated in example.rotated():
            assert asked(rotated) == pytest.approx(
                {word: percent / 100 for word, percent in said(rotated)[0].items()}
            )


def test_a_list_goes_on_with_what_was_said():
    draw = Draw(("oak", "elm"), (70, 30), is_ahead=True)
    step = begun(WORDINGS["steps"][0], draw)
    assert [message["role"] for message in step.prompt] == ["user"]
    for word in ("oak", "elm", "oak"):
        step = next_step(step, word)
    assert step.prompt[-1] == {"role": "assistant", "content": "oak, elm, oak,"}
    assert step.metadata["step"] == 4 and step.boundary == "end_of_word"
    assert step.target.probs == (0.7, 0.3) and len(step.prompt) == 2


def test_training_lists_have_every_length_and_words_as_often_as_asked():
    examples = rows("steps", 4000)
    lengths = Counter(example.metadata["step"] for example in examples)
    assert set(lengths) == set(range(1, MOST_STEPS + 1)) and min(lengths.values()) > 400
    first, wanted, spread = 0.0, 0.0, 0.0
    for example in examples:
        if example.metadata["step"] > 1:
            words = example.prompt[-1]["content"].replace(",", "").split()
            (one, _), (p, q) = example.target.words, example.target.probs
            first += words.count(one)
            wanted += p * len(words)
            spread += p * q * len(words)
    assert abs(first - wanted) < 4 * spread**0.5


def test_no_word_is_on_both_sides():
    train, test = Sequences().draw(500, n_test=200, seed=4)
    words = [
        {w for e in side for words in e.target.words for w in words.split()}
        for side in (train, test)
    ]
    assert not words[0] & words[1]
    for side in (train, test):
        assert {example.metadata["kind"] for example in side} == set(WORDINGS)


def test_of_first_words_only_they_count():
    (example,) = rows("three words", 1)
    first = first_word(example)
    assert asked(first) == pytest.approx(
        {word: percent / 100 for word, percent in said(example)[0].items()}
    )
    assert first.boundary == "end_of_word" and first.prompt == example.prompt


def test_the_system_message_can_be_left_out():
    for kind in WORDINGS:
        told = Sequences(kinds=(kind,)).draw(5)[0]
        alone = Sequences(kinds=(kind,), system=None).draw(5)[0]
        for one, other in zip(told, alone, strict=True):
            assert one.prompt[0]["role"] == "system" and one.prompt[1:] == other.prompt
            assert [rotation[1:] for rotation in one.rotations] == list(other.rotations)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(DataError, match="kinds is empty"):
        Sequences(kinds=())
    with pytest.raises(DataError, match='kind of sequence "step"'):
        Sequences(kinds=("step",))
    with pytest.raises(DataError, match="n is 0"):
        Sequences().draw(0)
    with pytest.raises(DataError, match="give more words"):
        Sequences(pool=("ash", "elm", "oak", "yew")).draw(1)
    with pytest.raises(DataError, match="single words"):
        Sequences(pool=("red fox", "ash", "elm"))
    with pytest.raises(DataError, match="the pool is the string"):
        Sequences(pool="ash")
