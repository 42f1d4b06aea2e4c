"""The suite of sequences: joint answers, and lists followed along the model's own words."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from distmatch.data.tasks.sequence import MOST_STEPS, WORDINGS, Sequences
from distmatch.evals import LocalModel, Report, measure
from distmatch.evals.suites import Sequential
from distmatch.evals.suites.sequence import followed_lists
from distmatch.scoring import score


@pytest.fixture(scope="module")
def report(subject):
    """Of two examples of each kind."""
    return measure(subject, Sequential(per_kind=2), num_resamples=20)


def test_there_are_forty_of_each_kind_with_held_out_words():
    asked = Sequential().examples(seed=2)
    assert Counter(e.metadata["kind"] for e in asked) == dict.fromkeys(WORDINGS, 40)
    assert all(e.metadata.get("step", 1) == 1 for e in asked)

    def words(examples):
        return {w for e in examples for words in e.target.words for w in words.split()}

    assert not words(asked) & words(Sequences().draw(500, 0, 2)[0])


def test_lists_are_followed_along_words_that_were_asked_for(report):
    rows = [row for row in report.rows() if row["metadata"]["kind"] == "steps"]
    assert len(rows) == 2 * MOST_STEPS
    for number in range(2):
        steps = rows[number::2]
        assert [row["metadata"]["step"] for row in steps] == list(range(1, MOST_STEPS + 1))
        assert all(row["prompt"] == steps[0]["prompt"] for row in steps)
        before = steps[0]["said"]["before"]
        assert before == ""
        for row in steps[1:]:
            written = row["said"]["before"]
            assert written.startswith(before)
            said = written.removeprefix(before).strip()
            assert said.removesuffix(",") in row["words"]
            before = written
    assert {row["metadata"]["group"] for row in rows} == {
        *("step 1", "step 2", "steps 3-4", "steps 5-8"),
    }
    assert len({row["cluster"] for row in rows}) == 2


def test_of_whole_answers_there_is_how_far_the_first_words_alone_are_off(tiny, report):
    for row in report.rows():
        if row["metadata"]["kind"] == "steps":
            assert row["first_tvd"] is None
            continue
        asked = {}
        for words, prob in zip(row["words"], row["asked"], strict=True):
            asked[words.split()[0]] = asked.get(words.split()[0], 0) + prob
        scores = score(*tiny, row["prompt"], list(asked), boundary="end_of_word")
        off = [p - q for p, q in zip(asked.values(), scores.log_probs.exp().tolist(), strict=True)]
        tvd = (sum(map(abs, off)) + scores.log_other.exp().item()) / 2
        assert row["first_tvd"] == pytest.approx(tvd, abs=1e-5)


def test_a_list_goes_on_where_neither_word_can_have_been_said(tiny):
    examples = Sequential(per_kind=3).examples()
    lists = [example for example in examples if example.metadata["kind"] == "steps"]

    class Silent(LocalModel):
        def answers(self, examples, name):
            answers = super().answers(examples, name)
            return replace(answers, given=np.full_like(answers.given, np.nan))

    silent = Silent(model=tiny[0], tokenizer=tiny[1], progress=False)
    assert len(list(followed_lists(silent, lists))) == 3 * MOST_STEPS


def test_a_saved_report_is_read_back(report, tmp_path):
    report.save(tmp_path / "report.json")
    assert str(Report.load(tmp_path / "report.json")) == str(report)
