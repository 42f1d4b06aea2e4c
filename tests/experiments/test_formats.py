"""Neutral questions: many, balanced by kind, of nobody, and the same for the same seed."""

import re
from collections import Counter

import pytest

from distmatch.data.trie import Encoder
from distmatch.errors import DataError
from distmatch.experiments import format_rows
from distmatch.experiments.formats import (
    KINDS,
    LETTER_BEGUN,
    LETTER_CLOSING,
    NUMBER_BEGUN,
    NUMBER_CLOSING,
    WORD_BEGUN,
    WORD_CLOSING,
    quoted_or,
)
from distmatch.experiments.pairs import PAIRS
from tests.tiny import tiny_tokenizer

BEGUN = {"number": NUMBER_BEGUN, "letter": LETTER_BEGUN, "word": WORD_BEGUN}


def text_of(example):
    return example.prompt[-1]["content"]


def of_kind(rows, kind):
    return [example for example in rows if example.metadata["kind"] == kind]


def test_the_kinds_come_in_turn_and_each_has_sixty_questions_of_its_own():
    rows = format_rows(240, seed=0)
    assert Counter(example.metadata["kind"] for example in rows) == dict.fromkeys(KINDS, 80)
    for kind in KINDS:
        assert len({text_of(example) for example in of_kind(rows, kind)}) >= 60


def test_the_first_rows_are_the_same_for_any_number_of_them_and_others_for_another_seed():
    assert format_rows(30, seed=3)[:12] == format_rows(12, seed=3)
    assert format_rows(12, seed=4) != format_rows(12, seed=3)


def test_answers_are_begun_and_asked_for_as_the_probes_do():
    closings = {"number": NUMBER_CLOSING.format(top=100), "letter": LETTER_CLOSING}
    for example in format_rows(60, seed=0):
        kind = example.metadata["kind"]
        assert example.prefill == BEGUN[kind]
        assert example.boundary == "end_of_word"
        if kind == "word":
            listed = re.findall(r'"\w+"', text_of(example))
            words = quoted_or([word[1:-1] for word in listed[: len(listed) // 2]])
            closings[kind] = WORD_CLOSING.format(words=words)
        assert text_of(example).endswith(closings[kind])


def test_targets_are_uniform_over_all_answers():
    for example in format_rows(60, seed=0):
        probs = example.target.probs
        assert probs == pytest.approx([1 / len(probs)] * len(probs))
        if example.metadata["kind"] == "number":
            assert example.target.words == tuple(map(str, range(101)))


def test_a_shorter_scale_stands_in_question_and_answers():
    for example in of_kind(format_rows(90, seed=0, top=10), "number"):
        assert example.target.words == tuple(map(str, range(11)))
        assert "100" not in text_of(example)


def test_letters_are_those_of_the_options_and_words_those_in_quotation_marks():
    for example in of_kind(format_rows(90, seed=0), "letter"):
        letters = re.findall(r"^([A-Z])\) ", text_of(example), re.MULTILINE)
        assert example.target.words == tuple(way for one in letters for way in (one, f"({one}"))
    for example in of_kind(format_rows(90, seed=0), "word"):
        quoted = re.findall(r'"(\w+)"', text_of(example))
        assert {word.lower() for word in example.target.words} == set(quoted)


def test_nothing_is_about_whoever_is_asked_nor_about_what_experiments_teach():
    asked = " ".join(map(text_of, format_rows(600, seed=0))).lower()
    words = set(re.findall(r"[a-z]+", asked))
    own = {"you", "your", "yourself", "model", "assistant", "probability", "percent", "share"}
    taught = {word for pair in PAIRS.values() for word in (pair.first, pair.second)}
    assert words & (own | taught) == set()


def test_every_row_can_be_encoded():
    Encoder(tiny_tokenizer()).encode_all(format_rows(60, seed=0, top=20))


@pytest.mark.parametrize(("n", "top"), [(-1, 100), (3, 0)])
def test_what_cannot_be_drawn_is_refused(n, top):
    with pytest.raises(DataError, match=f"n is {n} and top is {top}"):
        format_rows(n, 0, top)
