"""Questions of general knowledge: a sound file, options in balanced order, never trained on."""

import json
import re
from collections import Counter
from importlib import resources

import pytest

from distmatch.data import negatives, ordinary_texts
from distmatch.data.tasks import TASKS
from distmatch.data.tasks.grammar import FILLERS
from distmatch.data.tasks.not_given import not_given
from distmatch.errors import ConfigError
from distmatch.evals import SUITES, compare, difference_table, measure
from distmatch.evals.suites import Knowledge

FILE = resources.files("distmatch.data").joinpath("knowledge.jsonl")
ROWS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def normalised(text):
    return " ".join(re.findall(r"\w+", text.lower()))


def contents(prompt):
    return [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]


def test_there_are_enough_questions_of_every_topic_and_none_twice():
    assert len(ROWS) >= 520
    assert set(Counter(row["topic"] for row in ROWS).values()) == {40}
    assert max(Counter(normalised(row["question"]) for row in ROWS).values()) == 1


@pytest.mark.parametrize("topic", dict.fromkeys(row["topic"] for row in ROWS))
def test_each_question_has_one_right_option_of_four(topic):
    for row in ROWS:
        if row["topic"] == topic:
            options = [row["right"], *row["wrong"]]
            assert len({option.casefold() for option in options}) == 4, row
            assert row["question"].endswith("?") and all(o == o.strip() != "" for o in options), row


def test_nothing_in_them_speaks_of_chances():
    chances = re.compile(r"%|percent|probab|chance|odds|likel|often|random|draw|choose", re.I)
    assert [row for row in ROWS if chances.search(json.dumps(row))] == []


@pytest.mark.parametrize("extreme", [min, max])
def test_the_length_of_an_option_does_not_tell_whether_it_is_right(extreme):
    def hits(row):
        lengths = [len(option) for option in (row["right"], *row["wrong"])]
        return (lengths[0] == extreme(lengths)) / lengths.count(extreme(lengths))

    assert 0.17 <= sum(map(hits, ROWS)) / len(ROWS) <= 0.33


def test_sums_are_right():
    sums = {
        r"What is (\S+) times (\S+)\?": lambda a, b: a * b,
        r"What is (\S+) plus (\d+)\?": lambda a, b: a + b,
        r"What is (\S+) minus (\S+)\?": lambda a, b: a - b,
        r"What is (\S+) divided by (\S+)\?": lambda a, b: a / b,
        r"What is the average of (\d+), (\d+) and (\d+)\?": lambda a, b, c: (a + b + c) / 3,
    }
    found = 0
    for row in ROWS:
        for pattern, result in sums.items():
            if match := re.fullmatch(pattern, row["question"]):
                assert float(row["right"]) == result(*map(float, match.groups())), row
                found += 1
    assert found == 10


def test_every_letter_is_right_as_often_as_every_other():
    questions = Knowledge().questions(seed=3)
    places = Counter((question.task, question.answer) for question in questions)
    assert set(places.values()) == {10} and len(places) == 56
    for question, row in zip(questions, ROWS, strict=True):
        listed = dict(re.findall(r"^([A-D])\. (.*)$", question.messages[0]["content"], re.M))
        assert listed[question.answer] == row["right"] and question.task == row["topic"]
        assert sorted(listed.values()) == sorted([row["right"], *row["wrong"]])


def test_the_seed_decides_the_order_of_the_options_and_nothing_else():
    first, second = (Knowledge(per_group=8).questions(seed) for seed in (0, 1))
    assert first == Knowledge(per_group=8).questions(0) and len(first) == 14 * 8
    assert max(Counter(question.answer for question in first).values()) == 28
    asked = [[q.messages[0]["content"].split("\n")[0] for q in some] for some in (first, second)]
    assert asked[0] == asked[1] and first != second


def test_no_question_is_trained_on():
    prompts = [example.prompt for task in TASKS.values() for example in task().draw(300, 0)[0]]
    prompts += negatives(64) + [own.prompt for own in not_given(50)]
    prompts += [text for some in ordinary_texts().values() for text in some]
    trained = normalised(
        "\n".join([*FILLERS, *(c for prompt in prompts for c in contents(prompt))])
    )
    assert [row["question"] for row in ROWS if normalised(row["question"]) in trained] == []


def test_a_model_is_measured_and_compared_question_by_question(subject, smallest):
    suite = Knowledge(per_group=1)
    first, second = (measure(one, suite, num_resamples=20) for one in (subject, smallest))
    assert list(first.groups()) == list(dict.fromkeys(row["topic"] for row in ROWS))
    assert first.metrics["chance"].mean == 0.25
    apart = compare(first, second)
    for name in suite.compared:
        means = [report.metrics[name].mean for report in (first, second)]
        assert apart[name].mean == pytest.approx(means[1] - means[0])
        assert apart[name].low <= apart[name].mean <= apart[name].high
        assert f"\n{name} " in difference_table({"before": first, "after": second})


def test_more_questions_than_there_are_cannot_be_asked():
    SUITES["knowledge"].check()
    with pytest.raises(ConfigError, match=r"knowledge\.per_group is 41, expected at most 40"):
        Knowledge(per_group=41).check()
