"""Records in and out: files, lists and datasets."""

import json

import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.jsonl import file_content, json_lines, read_jsonl, to_examples, write_jsonl
from distmatch.errors import DataError
from tests.data.colours import COLOURS, EVERYTHING, QUESTION, RECORD


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

    def broken_off():
        yield Example(prompt="a", target=COLOURS)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(path, broken_off())
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


def test_what_was_read_once_is_parsed_as_it_was(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\r\n\n{"a": 2}', encoding="utf-8")
    content = file_content(path)
    path.unlink()
    assert json_lines(content, lambda record: record["a"], "rows") == [1, 2]
    with pytest.raises(DataError, match=r"^rows:2: not JSON .*\nrows:3: expected an object"):
        json_lines(b"{}\n{\n3\n", dict, "rows")
