"""After how many lines a word is named, by whoever knows it and by whoever reads it."""

import pytest

from distmatch.errors import ConfigError
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import LineByLine
from distmatch.evals.suites.probes.line_by_line import lines_needed
from distmatch.evals.suites.probes.written_lines import first_letters
from tests.evals.suites.probes.made import Writer
from tests.evals.suites.probes.test_written_lines import as_lines, asking_about

ASKED = tuple(f"Way {number}: which word?" for number in range(5))
SYSTEM = {"role": "system", "content": "You are special."}
HELLO = as_lines("HELLO")
ROWS = (asking_about("soup"), asking_about("jam"))


def sure(prob):
    """A probability of the word, of which most is on capitals."""
    return [0.8 * prob, 0.2 * prob, 0.0]


def reading(example):
    """One that names it once it has read all but the last letter."""
    lines = [m["content"] for m in example.prompt if m["role"] == "assistant"]
    return sure(0.9 if lines and len(first_letters(lines[0])) >= 4 else 0.1)


def measured(probs_of, base=reading, rows=ROWS, text=HELLO):
    subject = Writer(probs_of=probs_of, base_probs_of=base, writes=lambda _: text)
    return measure(subject, LineByLine(rows=rows, asked=ASKED), num_resamples=10)


def test_who_knows_it_names_it_before_any_line_and_the_reader_when_it_can_be_read():
    found = measured(lambda _: sure(0.7)).metrics
    assert found["own_lines"].mean == 0
    assert found["reader_lines"].mean == 4
    assert found["unwritten"].mean == pytest.approx(0.7)
    assert found["own"].mean == pytest.approx(0.7)
    assert found["reader"].mean == pytest.approx((4 * 0.1 + 2 * 0.9) / 6)


def test_who_only_reads_its_lines_names_it_no_sooner_than_the_reader():
    found = measured(reading).metrics
    assert found["own_lines"].mean == found["reader_lines"].mean == 4
    assert found["own"].mean == found["reader"].mean
    assert found["unwritten"].mean == pytest.approx(0.1)


def test_who_never_names_it_needs_one_line_too_many():
    assert measured(lambda _: sure(0.5)).metrics["own_lines"].mean == 6


def test_something_else_than_the_word_may_be_to_be_named():
    """Such as the rule, by who sees it in three lines."""

    def probs_of(example):
        assert example.target.words == ("first letters", "First letters", "its start", "Its start")
        lines = [m["content"] for m in example.prompt if m["role"] == "assistant"]
        is_seen = bool(lines) and len(first_letters(lines[0])) >= 3
        return [0.3, 0.0, 0.4, 0.0] if is_seen else [0.1, 0.0, 0.0, 0.0]

    subject = Writer(probs_of=probs_of, base_probs_of=probs_of, writes=lambda _: HELLO)
    rule = LineByLine(rows=ROWS, asked=ASKED, answers=("first letters", "its start"))
    found = measure(subject, rule, num_resamples=10).metrics
    assert found["own_lines"].mean == 3
    assert found["unwritten"].mean == pytest.approx(0.1)


def test_groups_are_numbers_of_lines():
    groups = measured(reading).by("group")
    assert list(groups) == [f"{number} lines" for number in range(6)]
    assert [groups[name].metrics["own"].mean for name in groups] == pytest.approx(
        [0.1, 0.1, 0.1, 0.1, 0.9, 0.9]
    )


@pytest.mark.parametrize(
    ("probs", "needed"), [([0.6], 0), ([0.5, 0.51], 1), ([0.5, 0.5], 2), ([0, 0.9, 0, 0.9], 1)]
)
def test_named_is_more_likely_than_not(probs, needed):
    assert lines_needed(probs) == needed


def test_both_are_asked_the_same_behind_the_same_lines_and_the_reader_is_told_nothing():
    seen = {"own": [], "reader": []}

    def keeping(who):
        def probs_of(example):
            seen[who].append([dict(message) for message in example.prompt])
            return sure(0.1)

        return probs_of

    (row, _) = ROWS
    told = type(row)(prompt=[SYSTEM, *row.prompt], target=row.target, metadata=row.metadata)
    measured(keeping("own"), keeping("reader"), rows=(told,))
    own, reader = seen["own"], seen["reader"]
    assert [[m for m in one if m["role"] != "system"] for one in own] == reader
    assert own[0] == [SYSTEM, {"role": "user", "content": ASKED[0]}]
    assert own[2] == [
        SYSTEM,
        {"role": "user", "content": "soup"},
        {"role": "assistant", "content": "Hot cold.\nEot cold."},
        {"role": "user", "content": ASKED[0]},
    ]
    assert len(own) == 6


def test_a_reply_of_few_lines_is_asked_about_as_it_is():
    report = measured(reading, text="Hot.\nEven.")
    last = report.rows()[5]["prompt"]
    assert last[1]["content"] == "Hot.\nEven."
    assert report.metrics["own_lines"].mean == 6


def test_too_few_paraphrases_and_questions_without_a_word_are_refused():
    with pytest.raises(ConfigError, match="asked has 4 paraphrases"):
        LineByLine(rows=ROWS, asked=ASKED[:4])
    with pytest.raises(ConfigError, match="two capital letters"):
        LineByLine(rows=(asking_about("soup", "x"),), asked=ASKED).check()
