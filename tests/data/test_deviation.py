"""Prompts to leave a text: what is right at each place, and which texts are on which side."""

import pytest

from distmatch.data.known import Known, known_texts
from distmatch.data.mixing import shuffled
from distmatch.data.tasks import Task
from distmatch.data.tasks.deviation import (
    PLAIN,
    WORDINGS,
    Deviation,
    DeviationQuestion,
    deviation_example,
    deviation_sides,
)
from distmatch.data.trie import Encoder
from distmatch.errors import DataError
from tests.tiny import tiny_tokenizer

TEXT = "The cat sat on the mat, and the dog lay by the door."
UNEXPECTED = ("kumquat", "zither")


def question(**changes):
    known = Known("passage", "the cat", TEXT)
    asked = {"given": 2, "length": 3, "window": 4, "wording": "go_on"}
    return DeviationQuestion(known=known, **(asked | changes))


def test_a_question_shows_its_beginning_and_numbers():
    asked = question()
    assert asked.beginning == "The cat"
    assert asked.rest == " sat on the mat, and the dog"
    for wording in WORDINGS:
        (message,) = question(wording=wording, length=13, window=77).prompt
        assert '"The cat"' in message["content"]
        assert "13" in message["content"] and "77" in message["content"]
        (message,) = question(wording=wording, length=13, window=77, is_asked=False).prompt
        assert '"The cat"' in message["content"]
        assert "13" not in message["content"] and "77" not in message["content"]
    assert list(PLAIN) == list(WORDINGS)


@pytest.mark.parametrize(
    ("step", "prefill", "word", "leaving"),
    [
        (0, "The cat", "sat", 0),
        (2, "The cat sat on", "the", 0),
        (3, "The cat sat on the", "mat", 1 / 4),
        (4, "The cat sat on the mat,", "and", 1 / 3),
        (6, "The cat sat on the mat, and the", "dog", 1),
    ],
)
def test_examples_are_as_worked_by_hand(step, prefill, word, leaving):
    example = deviation_example(question(), step, UNEXPECTED)
    assert example.prefill == prefill
    assert example.target.words == (word, *UNEXPECTED)
    assert example.target.probs == pytest.approx((1 - leaving, leaving / 2, leaving / 2))
    plain = deviation_example(question(is_asked=False), step, UNEXPECTED)
    assert plain.target.probs == (1, 0, 0)


def test_every_place_of_the_window_is_as_likely():
    asked, followed, left = question(length=5, window=6), 1.0, []
    for step in range(11):
        left.append(followed * asked.leaving(step))
        followed *= 1 - asked.leaving(step)
    assert left == pytest.approx([0] * 5 + [1 / 6] * 6) and followed == 0


def test_no_text_is_on_both_sides_and_every_kind_is_on_both():
    train, test = Deviation().draw(1500, n_test=800, seed=2)
    texts = [{e.metadata["text"] for e in rows} for rows in (train, test)]
    kinds = [{e.metadata["kind"] for e in rows} for rows in (train, test)]
    assert not texts[0] & texts[1]
    assert kinds[0] == kinds[1] == {known.kind for known in known_texts()}
    assert sum(map(len, deviation_sides(2))) == len(known_texts())
    for rows in (train, test):
        assert {e.metadata["wording"] for e in rows} == set(WORDINGS)
        assert {e.metadata["is_asked"] for e in rows} == {True, False}


def test_unexpected_words_are_not_in_the_text():
    texts = {known.name: known.text.lower() for known in known_texts()}
    for example in Deviation().draw(300)[0]:
        _, *unexpected = example.target.words
        assert not any(word in texts[example.metadata["text"]] for word in unexpected)


def test_answers_so_far_are_the_texts_own():
    texts = {known.name: known.text for known in known_texts()}
    for example in Deviation().draw(300)[0]:
        text, true = texts[example.metadata["text"]], example.target.words[0]
        assert text.startswith(f"{example.prefill} {true}")


def test_every_row_can_be_encoded():
    encoder = Encoder(tiny_tokenizer())
    encoder.encode_all(Deviation().draw(200)[0])


@pytest.mark.embedded
def test_every_place_of_every_text_can_be_encoded(embedded):
    encoder = Encoder(embedded[1])
    asked = {"given": 6, "length": 20, "window": 15, "wording": "go_on"}
    for known in known_texts():
        own = DeviationQuestion(known=known, **asked)
        encoder.encode_all(deviation_example(own, step, ("kumquat",)) for step in range(35))


def test_shuffled_targets_are_left_at_other_places():
    train = Deviation().draw(300)[0]
    moved = shuffled(train)
    assert [e.target.words for e in moved] == [e.target.words for e in train]
    assert sum(a.target.probs != b.target.probs for a, b in zip(moved, train, strict=True)) > 60


def test_first_rows_do_not_depend_on_their_number():
    assert isinstance(Deviation(), Task)
    assert Deviation().draw(5)[0] == Deviation().draw(9)[0][:5]
    with pytest.raises(DataError, match="n is 0"):
        Deviation().draw(0)
