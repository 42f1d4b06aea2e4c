"""Multiple choice: read, held against a plain forward, reported and compared."""

import json
import math

import pytest
import torch

from distmatch.data.jsonl import json_lines
from distmatch.errors import ConfigError, DataError
from distmatch.evals import Report, measure
from distmatch.evals.suites import Choices
from distmatch.evals.suites.choice_questions import ChoiceQuestion
from distmatch.evals.suites.choices import scored_questions

ASKED = {"role": "user", "content": "red (A) or blue (B)?"}


def begun(text):
    return (ASKED, {"role": "assistant", "content": text})


QUESTIONS = [
    ChoiceQuestion((ASKED,), ("(A)", "(B)", "(C)"), "(B)", "letters"),
    ChoiceQuestion(begun("Answer: ("), ("A", "B"), "A", "letters"),
    ChoiceQuestion(begun("It is"), ("red", "otter", "green fox"), "red"),
    ChoiceQuestion(begun("It is"), ("red", "otter", "green fox"), "otter"),
    ChoiceQuestion((ASKED,), ("+", "-"), "+"),
    ChoiceQuestion((ASKED,), ("red", "red fox"), "red", boundary="end_of_turn"),
]


def oracle(subject, question, text):
    """P(the answer begins with this text, and then its word ends), token by token."""
    tokenizer = subject.tokenizer
    *before, last = question.messages
    if last["role"] == "user":
        before, last = question.messages, {"content": ""}
    shown = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in before)
    prompt = f"{shown}<|im_start|>assistant\n{last['content']}"
    space = " " if last["content"] and not last["content"].endswith("(") else ""
    ids = tokenizer(prompt)["input_ids"]
    path = tokenizer(prompt + space + text)["input_ids"][len(ids) :]
    with torch.no_grad():
        logits = subject.model(torch.tensor([ids + path])).logits[0].double()
    probs = logits.softmax(-1)[len(ids) - 1 :]
    end = [i for i in range(len(tokenizer)) if ends(tokenizer, i, question.boundary)]
    reached = math.prod(probs[step, token].item() for step, token in enumerate(path))
    return reached * probs[len(path), end].sum().item()


def ends(tokenizer, token, boundary):
    if boundary == "end_of_turn":
        return token == tokenizer.convert_tokens_to_ids("<|im_end|>")
    text = tokenizer.decode([token])
    return text[:1].isascii() and not (text[:1].isalnum() or text[:1] == "_")


def test_the_scores_are_those_of_a_plain_forward(subject):
    rows = Report.of(scored_questions(subject, QUESTIONS), Choices.metrics, num_resamples=5).rows()
    cut = {"(A)": "(A", "(B)": "(B", "(C)": "(C"}
    for row, question in zip(rows, QUESTIONS, strict=True):
        probs = {one: oracle(subject, question, cut.get(one, one)) for one in question.choices}
        right = probs.pop(question.answer)
        total = right + sum(probs.values())
        assert row["correct_prob"] == pytest.approx(right, rel=1e-3)
        assert row["correct_share"] == pytest.approx(right / total, rel=1e-3)
        assert row["other"] == pytest.approx(1 - total, abs=1e-5)
        assert row["correct"] == float(right > max(probs.values()))
        assert row["chance"] == pytest.approx(1 / len(question.choices))
    assert {row["correct"] for row in rows} == {0.0, 1.0}


def test_a_report_has_a_group_a_task_and_no_text(subject, tmp_path):
    report = Report.of(scored_questions(subject, QUESTIONS), Choices.metrics, num_resamples=5)
    assert {name: part.num_examples for name, part in report.groups().items()} == {
        "letters": 2,
        "choices": 4,
    }
    assert report.groups()["letters"].metrics["chance"].mean == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert "correct by guessing; to beat" in report.table()
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json").to_json() == report.to_json()
    kept = (tmp_path / "report.json").read_text()
    assert not any(text in kept for text in ("blue", "Answer", "(A", "otter"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("(A)", "(B)"), ("(A", "(B")),
        (("Yes.", "No."), ("Yes", "No")),
        (("A) red", "B) red"), ("A) red", "B) red")),
        (("1.", "10."), ("1.", "10.")),  # "1" begins "10"
        (("C", "C++"), ("C", "C++")),
        (("+", "-"), ("+", "-")),
    ],
)
def test_a_choice_is_scored_up_to_its_last_letter_where_that_tells_it(given, words):
    assert ChoiceQuestion((ASKED,), given, given[0]).words == words
    assert ChoiceQuestion((ASKED,), given, given[0], boundary="end_of_turn").words == given


def test_a_choice_that_begins_another_is_refused_with_what_to_do(subject):
    overlapping = ChoiceQuestion((ASKED,), ("C", "C++"), "C")
    message = r'^row 1: "C\+\+" is "C" followed by the end of a word.*boundary="end_of_turn"'
    with pytest.raises(DataError, match=message):
        scored_questions(subject, [QUESTIONS[0], overlapping])


def record(**changes):
    given = {"messages": [ASKED], "choices": ["(A)", "(B)"], "answer": "(B)", "task": "colours"}
    return json.dumps({k: v for k, v in (given | changes).items() if v != "left out"})


def test_the_task_and_the_boundary_may_be_left_out(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join([record(), record(task=None), record(boundary="end_of_turn")]))
    first, second, third = json_lines(path.read_bytes(), ChoiceQuestion.from_record, str(path))
    assert (first.task, second.task) == ("colours", "choices")
    assert (first.boundary, third.boundary) == ("end_of_word", "end_of_turn")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "left out"}, "column 'answer' is missing"),
        ({"tasks": "x"}, 'unknown column "tasks"; .* Did you mean "task"'),
        ({"messages": "hi"}, "messages must be a list"),
        ({"messages": [{"role": "user"}]}, 'needs "role" and "content"'),
        ({"messages": [ASKED, {"role": "assistant", "content": "It is "}]}, "in white space"),
        ({"choices": "(A)"}, "choices must be a list of texts"),
        ({"choices": ["(A)", 2]}, "choices must be a list of texts"),
        ({"choices": ["(B)"]}, "expected two or more"),
        ({"choices": ["(B)", " (A)"]}, "choice ' \\(A\\)' is empty, or begins or ends in white"),
        ({"choices": ["(B)", "(B)"]}, "repeat one: give each once"),
        ({"answer": "(C)"}, r"answer is '\(C\)', expected one of \['\(A\)', '\(B\)'\]"),
        ({"answer": 1}, "answer must be a text, got 1"),
        ({"task": 3}, "task must be a text, got 3"),
        ({"boundary": "end"}, 'unknown boundary "end"'),
    ],
)
def test_questions_that_cannot_be_used_are_named_with_their_line(tmp_path, changes, message):
    path = tmp_path / "questions.jsonl"
    path.write_text(record() + "\n\n" + record(**changes) + "\n")
    with pytest.raises(DataError, match=rf"questions\.jsonl:3: .*{message}"):
        json_lines(path.read_bytes(), ChoiceQuestion.from_record, str(path))


def test_a_file_is_read_once_and_known_by_what_is_in_it(subject, tmp_path):
    first, moved = tmp_path / "first", tmp_path / "moved"
    first.write_text(record())
    moved.write_text(record())
    suite, known = Choices(path=first), Choices(path=moved).record()
    suite.check()
    first.write_text(record(answer="(A)") + "\n" + record())
    assert measure(subject, suite, num_resamples=5).num_examples == 1
    assert suite.record() == known != Choices(path=first).record()


def test_without_a_file_the_suite_says_what_it_needs():
    with pytest.raises(ConfigError, match=r"give it a JSONL file .*\(choices\.path=FILE\)"):
        Choices().check()
