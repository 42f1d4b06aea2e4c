"""Known texts: long enough, cut into words as readers would, and told apart."""

import pytest

from distmatch.data.known import PASSAGE, SHORTEST, is_same_word, known_texts, word_spans


def words(text):
    return [text[slice(*span)] for span in word_spans(text)]


def test_every_text_has_a_name_of_its_own_and_words_enough():
    known = known_texts()
    assert len({one.name for one in known}) == len({one.text for one in known}) == len(known)
    for one in known:
        assert len(word_spans(one.text)) >= SHORTEST, one.name
    assert sum(one.kind == PASSAGE for one in known) >= 15


def test_every_word_follows_white_space():
    for one in known_texts():
        pieces = one.text.split()
        assert len(pieces) == len(word_spans(one.text)), one.name
        assert one.text == " ".join(pieces)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" .,- — ", []),
        ("self-evident, that", ["self-evident", "that"]),
        ("earth—and earth--and", ["earth", "and", "earth", "and"]),
        ("o'er the rockets' glare: 'tis", ["o'er", "the", "rockets", "glare", "'tis"]),
        ("10, 15,\n20", ["10", "15", "20"]),
        ("995, 1,000, 1,005,000.", ["995", "1,000", "1,005,000"]),
        ("1000,200 1,20 a1,000 1,0000", ["1000", "200", "1", "20", "a1", "000", "1", "0000"]),
        ("**Été** naïve_thing", ["Été", "naïve", "thing"]),
    ],
)
def test_words_are_cut_as_worked_by_hand(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("LORD", "Lord", True),
        ("'Tis", "’tis", True),
        ("self-evident", "selfevident", True),
        ("1,000", "1000", True),
        ("o'er", "over", False),
        ("10", "100", False),
    ],
)
def test_case_and_punctuation_make_no_other_word(one, other, is_same):
    assert is_same_word(one, other) == is_same


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("up: by 5 from 100", "100, 105, 110, 115"),
        ("down: by 1 from 60", "60, 59, 58"),
        ("days: from Saturday", "Saturday, Sunday, Monday, Tuesday"),
        ("months: from November", "November, December, January, February"),
        ("letters: DEF", "D, E, F, D, E"),
        ("words: red and cat", "red, cat, red, cat"),
    ],
)
def test_patterns_go_on_as_they_begin(name, beginning):
    assert next(one for one in known_texts() if one.name == name).text.startswith(beginning)


def test_numbers_go_down_to_one_and_no_further():
    down = next(one for one in known_texts() if one.name == "down: by 1 from 60")
    assert words(down.text)[-1] == "1"
