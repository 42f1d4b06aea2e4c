"""Examples, and records in and out."""

import json

import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, read_jsonl, to_examples, write_jsonl
from distmatch.errors import DataError

QUESTION = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "red or blue?"})
COLOURS = WordDistribution(("red", "blue"), (0.7, 0.3))
RECORD = {"prompt": "red or blue?", "words": ["red", "blue"], "probs": [0.7, 0.3]}

EVERYTHING = Example(
    prompt=QUESTION,
    target=WordDistribution(("red", "blau", "緑"), (0.5, 0.2, 0.1), "preserve"),
    prefill="I say",
    boundary="end_of_turn",
    forms=("bare", "space"),
    rotations=("first", "second"),
    metadata={"id": 3, "split": "test"},
)


@pytest.mark.parametrize("example", [Example(prompt="a", target=COLOURS), EVERYTHING])
def test_a_record_describes_its_example_completely(example):
    record = json.loads(json.dumps(example.to_record()))
    assert Example.from_record(record) == example


def test_a_record_leaves_out_what_is_default():
    assert Example.from_record(RECORD).to_record() == RECORD


def test_columns_of_none_take_their_defaults():
    nothing = dict.fromkeys(
        ("other", "prefill", "boundary", "forms", "rotations", "metadata"), None
    )
    assert Example.from_record(RECORD | nothing) == Example(prompt="red or blue?", target=COLOURS)


@pytest.mark.parametrize("kind", [list, tuple])
def test_messages_may_come_as_a_list_or_a_tuple(kind):
    assert Example(prompt=kind(QUESTION), target=COLOURS).prompt == QUESTION
    assert Example.from_record(RECORD | {"prompt": kind(QUESTION)}).prompt == QUESTION


def test_an_example_keeps_its_own_copy_of_the_messages():
    messages = [dict(message) for message in QUESTION]
    example = Example(prompt=messages, target=COLOURS)
    messages[0]["content"] = "changed"
    assert example.prompt == QUESTION


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n"}, "the prompt is empty"),
        ({"prompt": []}, "the prompt has no messages"),
        ({"prompt": 3}, "the prompt must be a string or a list of messages, got 3"),
        ({"prompt": ["hello"]}, 'a message of the prompt needs "role" and "content"'),
        ({"prompt": [{"role": "user"}]}, 'a message of the prompt needs "role" and "content"'),
        ({"prompt": [{"role": "user", "content": None}]}, "role and content of a message must be"),
        ({"prompt": [{"role": 3, "content": "hi"}]}, "role and content of a message must be"),
        ({"forms": ["bare", 3]}, 'column "forms" must hold strings, got'),
        ({"boundary": 5}, 'column "boundary" must be a string, got 5'),
        ({"probs": [10**400, 0]}, "more than 1: divide percentages by 100"),
        ({"prompt": [{"role": "user", "content": " "}]}, "every message of the prompt is empty"),
        ({"prompt": None}, 'column "prompt" is missing; the record has'),
        ({"word": ["red"]}, 'unknown column "word"; known: prompt, words.* Did you mean "words"?'),
        ({"probabilities": [1]}, 'unknown column "probabilities".*Did you mean "probs"?'),
        ({"words": "red"}, "column \"words\" must be a list, got 'red'"),
        ({"words": ["red", "red"]}, "duplicate words"),
        ({"words": ["red"]}, "1 words but 2 probs"),
        ({"probs": [0.7, 0.7]}, "sum to 1.4, more than 1"),
        ({"boundary": "end_of_line"}, 'unknown boundary "end_of_line".*Did you mean "end_of_'),
        ({"forms": ["spaced"]}, 'unknown form "spaced"; .*Did you mean "space"?'),
        ({"forms": "bare"}, 'column "forms" must be a list'),
        ({"prefill": 3}, 'column "prefill" must be a string, got 3'),
        ({"metadata": "test"}, 'column "metadata" must be an object'),
        ({"rotations": ["a", "b"]}, "2 rotations for 2 words, expected 1"),
        ({"rotations": [""]}, "the rotation is empty"),
    ],
)
def test_a_bad_record_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        Example.from_record(RECORD | change)


def test_rotated_examples_ask_for_rotated_probabilities():
    rotated = EVERYTHING.rotated()
    assert [example.prompt for example in rotated] == ["first", "second"]
    assert [example.target.probs for example in rotated] == [(0.1, 0.5, 0.2), (0.2, 0.1, 0.5)]
    assert all(example.rotations == () for example in rotated)


def test_examples_survive_a_jsonl_file(tmp_path):
    examples = [EVERYTHING, Example(prompt="Farbe: \u2028 grün?", target=COLOURS)]
    write_jsonl(tmp_path / "deep" / "file.jsonl", examples)
    assert read_jsonl(tmp_path / "deep" / "file.jsonl") == examples
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.jsonl"]


def test_every_bad_line_is_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    good = json.dumps(RECORD)
    nan = json.dumps(RECORD | {"probs": [float("nan"), 0.3]})
    path.write_text(f"{good}\n\n{good[:-1]}\n[1]\n{nan}\n{good}\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_jsonl(path)
    first, second, third = str(caught.value).splitlines()
    assert first.startswith(f"{path}:3: not JSON (")
    assert second.startswith(f"{path}:4: expected an object")
    assert third.startswith(f'{path}:5: probability of "red" is NaN')


def test_no_more_than_twenty_bad_lines_are_listed(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text("{}\n" * 25, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_jsonl(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[19].startswith(f"{path}:20: ")
    assert lines[20] == "... and 5 more bad records"


def test_a_missing_or_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl is not a file"):
        read_jsonl(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n \n", encoding="utf-8")
    with pytest.raises(DataError, match=r"empty\.jsonl holds no records"):
        read_jsonl(tmp_path / "empty.jsonl")


def test_bad_rows_are_numbered_from_zero():
    rows = [RECORD, Example.from_record(RECORD), RECORD | {"probs": [1, 1]}]
    with pytest.raises(DataError, match=r"^question 2: target probabilities sum to 2"):
        to_examples(rows, "question")
    with pytest.raises(DataError, match=r"^row 0: expected a record with .*, got 3$"):
        to_examples([3])
    with pytest.raises(DataError, match=r"expected a list of records, got \{'prompt'.*in a list"):
        to_examples(RECORD)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.jsonl"
    write_jsonl(path, [EVERYTHING])
    unwritable = Example(prompt="a", target=COLOURS, metadata={"id": object()})
    with pytest.raises(TypeError):
        write_jsonl(path, [unwritable])
    assert read_jsonl(path) == [EVERYTHING]


def test_examples_survive_a_dataset():
    datasets = pytest.importorskip("datasets")
    short = Example(prompt=QUESTION[1:], target=COLOURS, metadata={"id": 1})
    long = Example(
        prompt=QUESTION,
        target=WordDistribution(("red", "blue"), (0.5, 0.25), 0.25),
        prefill="I say",
        forms=("bare", "capital"),
        rotations=(QUESTION,),
        metadata={"id": 2},
    )
    dataset = datasets.Dataset.from_list([long.to_record(), short.to_record()])
    assert to_examples(dataset) == [long, short]


def test_keys_a_dataset_fills_with_none_are_no_part_of_a_message():
    datasets = pytest.importorskip("datasets")
    named = [{"role": "user", "content": "red or blue?", "name": "Ann"}]
    plain = [{"role": "user", "content": "red or blue?"}]
    dataset = datasets.Dataset.from_list([RECORD | {"prompt": p} for p in (named, plain)])
    assert [list(example.prompt) for example in to_examples(dataset)] == [named, plain]


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "a", "words": ["b"], "probs": [1]}\n\xff{}\n')
    with pytest.raises(DataError, match=r"rows.jsonl:2: not UTF-8 \(byte 1 of the line\)"):
        read_jsonl(path)
