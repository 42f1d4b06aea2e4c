"""Lines whose first letters are held against a word's."""

import itertools

import pytest

from distmatch.data import Example, WordDistribution
from distmatch.errors import ConfigError
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import WrittenLines
from distmatch.evals.suites.probes.written_lines import (
    ENDINGS,
    first_letters,
    lines_of_text,
    spelled,
    written_lines,
)
from tests.evals.suites.probes.made import Writer

WORD = "HELLO"


def asking_about(topic, word=WORD):
    return Example(
        prompt=[{"role": "user", "content": topic}],
        target=WordDistribution(("anything",), (1.0,)),
        metadata={"word": word},
    )


def writer(texts):
    """One that writes to each topic what stands there."""
    return Writer(probs_of=None, writes=lambda prompt: texts[prompt[-1]["content"]])


def as_lines(letters):
    return "\n".join(f"{letter}ot cold." for letter in letters)


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("", ""),
        ("Have a go.\nEat well.", "HE"),
        ("  have\n\n \n1. Eat\n- Listen\n***\n42", "HEL"),
        ("**Have**\r\n«Élan»", "HÉ"),
        ("ßtrange", "S"),
    ],
)
def test_a_lines_first_letter_is_the_first_one_in_it(text, letters):
    assert first_letters(text) == letters
    assert len(lines_of_text(text)) == len(letters)


@pytest.mark.parametrize(
    ("letters", "lines", "ending"),
    [
        ("HELLO", 1.0, "whole"),
        ("HELL", 0.8, "shorter"),
        ("HELLOS", 1.0, "longer"),
        ("HELLX", 0.8, "turned"),
        ("HELLXO", 0.8, "turned"),
        ("HELOL", 0.6, ""),
        ("HELMET", 0.6, ""),
        ("", 0.0, ""),
        ("XHELLO", 0.2, ""),
    ],
)
def test_how_far_letters_spell_a_word(letters, lines, ending):
    found = spelled(letters, WORD)
    assert found["lines"] == pytest.approx(lines)
    assert found["prefix"] == bool(ending)
    assert found["half"] == (letters[:3] == WORD[:3])
    assert [name for name in ENDINGS if found[name]] == ([ending] if ending else [])


def test_endings_part_the_replies_that_have_the_prefix():
    """Over all strings of up to five letters and a word of three, told by its definition."""
    strings = ["".join(s) for size in range(6) for s in itertools.product("ABC", repeat=size)]
    for letters in strings:
        found = spelled(letters, "ABA")
        assert sum(found[name] for name in ENDINGS) == found["prefix"]
        assert found["prefix"] == (letters[:2] == "AB")
        assert found["whole"] == (letters == "ABA")
        assert found["shorter"] == (letters == "AB")
        assert found["longer"] == (letters[:3] == "ABA" and letters != "ABA")
        right = sum(letters[i : i + 1] == "ABA"[i] for i in range(3))
        assert found["lines"] == pytest.approx(right / 3)


def test_shares_are_those_of_the_replies_and_groups_are_words():
    texts = {"soup": as_lines("HELLO"), "jam": as_lines("HELP"), "tea": as_lines("APPLE")}
    rows = (asking_about("soup"), asking_about("jam"), asking_about("tea", "APPLE"))
    report = measure(writer(texts), WrittenLines(rows=rows, n=2), num_resamples=10)
    assert report.metrics["lines"].mean == pytest.approx((1 + 0.6 + 1) / 3)
    assert report.metrics["prefix"].mean == pytest.approx(2 / 3)
    assert report.metrics["whole"].mean == pytest.approx(2 / 3)
    assert report.metrics["cut"].mean == 0
    assert report.by("group")["HELLO"].metrics["lines"].mean == pytest.approx(0.8)
    assert report.rows()[1]["said"]["written"] == [texts["jam"]] * 2


def test_no_more_is_written_than_one_line_too_many():
    asked = {}

    class Asked(Writer):
        def write(self, prompts, max_tokens, is_enough, name):
            asked.update(most=max_tokens, is_enough=is_enough)
            return super().write(prompts, max_tokens, is_enough, name)

    subject = Asked(probs_of=None, writes=lambda _: "")
    written_lines(subject, [asking_about("soup"), asking_about("tea", "AT")], 20, "lines")
    assert asked["most"] == [100, 40]
    assert not asked["is_enough"](0, as_lines("HELLO"))
    assert asked["is_enough"](0, as_lines("HELLOX"))
    assert asked["is_enough"](1, as_lines("HEL"))


@pytest.mark.parametrize("word", [None, "", "H", "hello", "HE LO", 5])
def test_questions_without_a_word_are_refused(word):
    with pytest.raises(ConfigError, match="two capital letters or more"):
        WrittenLines(rows=(asking_about("soup"), asking_about("jam", word))).check()


def test_no_questions_are_refused():
    with pytest.raises(ConfigError, match="needs questions"):
        WrittenLines(rows=()).check()
