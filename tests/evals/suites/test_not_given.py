"""Words of the model's own, worked by hand."""

import pytest

from distmatch.data.tasks.not_given import WORDINGS, OwnWords, not_given
from distmatch.data.tasks.wordings import SYSTEM
from distmatch.errors import DataError
from distmatch.evals import Report, measure
from distmatch.evals.suites import NotGiven
from distmatch.evals.suites.not_given import scored_choices, two_words
from distmatch.search import LikelyAnswers

pytest.importorskip("wordfreq")


def asked(p):
    return OwnWords("Say one of two words.", p, "seed", 123456789)


def test_prompts_hold_seed_and_numbers_and_no_words():
    questions = not_given(300, seed=4)
    assert len({question.seed for question in questions}) == 300
    assert {question.wording for question in questions} == set(WORDINGS)
    for question in questions:
        system, message = question.prompt
        assert system["content"] == SYSTEM
        percent = round(100 * question.p)
        for number in (question.seed, percent, 100 - percent):
            assert str(number) in message["content"]
    assert not_given(3, seed=4) == questions[:3]
    with pytest.raises(DataError, match="n is 0"):
        not_given(0)


def test_spellings_and_inflections_are_one_word():
    probs = {"Kettle.": 0.3, "kettles": 0.2, "": 0.1, '"Umbra"': 0.25, "oak": 0.15}
    assert two_words(probs) == [("Kettle", pytest.approx(0.5)), ("Umbra", 0.25)]
    assert two_words({"oak": 0.4}) == [("oak", 0.4), ("", 0.0)]


def test_the_likelier_word_is_held_against_the_larger_number():
    found = [
        LikelyAnswers({"gossamer": 0.6, "quagmire": 0.3}, 0.05),
        LikelyAnswers({"quagmire": 0.8, "gossamer": 0.2}, 0.0),
        LikelyAnswers({"gossamer quagmire": 0.5, "gossamer": 0.1}, 0.4),
        LikelyAnswers({}, 1.0),
    ]
    items = scored_choices([asked(0.3), asked(0.8), asked(0.5), asked(0.9)], found)
    rows = Report.of(items, num_resamples=10).rows()

    def values(name):
        return [row[name] for row in rows]

    assert values("tvd") == pytest.approx([0.1, 0.0, 0.4, 1.0])
    assert values("other") == pytest.approx([0.1, 0.0, 0.4, 1.0])
    assert values("rare") == [1, 1, 0, 0]
    assert values("same_pair") == pytest.approx([1 / 3, 1 / 3, 0, 0])
    assert values("unexplored") == [0.05, 0.0, 0.4, 1.0]
    assert values("policy_tvd") == pytest.approx([0.05, 0.05, 0.25, 0.15])
    assert rows[0]["said"] == {"first": ["gossamer", 0.6], "second": ["quagmire", 0.3]}


def test_the_suite_runs_and_is_read_back(subject, tmp_path):
    report = measure(subject, NotGiven(prompts=6, most_opened=16), num_resamples=20)
    assert report.num_examples == 6 and report.metrics["unexplored"].mean > 0.5
    assert "same_pair" in report.group_table()
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json").to_json() == report.to_json()
