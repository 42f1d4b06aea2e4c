"""Questions of general knowledge: a sound file, asked without their answers, never trained on."""

import json
import re
from collections import Counter
from importlib import resources
from itertools import permutations

import pytest

from distmatch.data import negatives, ordinary_texts, short_questions
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
def test_each_question_has_four_answers_that_can_be_told_apart(topic):
    for row in ROWS:
        if row["topic"] == topic:
            options = [option.casefold() for option in (row["right"], *row["wrong"])]
            assert len(set(options)) == 4 and row["question"].endswith("?"), row
            for one, other in permutations(options, 2):
                assert not re.match(re.escape(one) + r"\b", other), row
            assert not re.search(rf"\b{re.escape(row['right'])}\b", row["question"]), row


def test_nothing_in_them_speaks_of_chances():
    chances = re.compile(r"%|percent|probab|chance|odds|likel|often|random|draw|choose", re.I)
    assert [row for row in ROWS if chances.search(json.dumps(row))] == []


@pytest.mark.parametrize("extreme", [min, max])
def test_the_length_of_an_answer_does_not_tell_whether_it_is_right(extreme):
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


def test_the_first_of_each_topic_are_asked_and_no_answer_is_shown():
    questions = Knowledge(per_group=3).questions
    rows = [row for number, row in enumerate(ROWS) if number % 40 < 3]
    for question, row in zip(questions, rows, strict=True):
        asked = [message["content"] for message in question.messages]
        assert asked == [row["question"], "Answer:"] and question.task == row["topic"]
        assert question.answer == row["right"] == question.choices[0]
        assert question.choices[1:] == tuple(row["wrong"])


def test_no_question_is_trained_on():
    prompts = [example.prompt for task in TASKS.values() for example in task().draw(300, 0)[0]]
    prompts += negatives(64) + short_questions(200) + [own.prompt for own in not_given(50)]
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
