"""Ordinary texts of a file."""

import json

import pytest

from distmatch.data.texts import read_texts
from distmatch.errors import DataError


def test_lines_are_strings_or_hold_a_text_or_messages(tmp_path):
    messages = [{"role": "user", "content": "Red?"}, {"role": "assistant", "content": "Blue."}]
    lines = ["red or blue", {"text": "a fox", "messages": None}, {"messages": messages, "id": 3}]
    (tmp_path / "texts.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    assert read_texts(tmp_path / "texts.jsonl") == ["red or blue", "a fox", tuple(messages)]


def test_every_bad_line_is_listed_with_its_number(tmp_path):
    bad = ["3", '{"content": "x"}', '{"text": "x", "messages": []}', "nope", '""', '{"text": 1}']
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(['"good"', *bad, '{"messages": [{"role": "user"}]}']))
    with pytest.raises(DataError) as refused:
        read_texts(path)
    told = str(refused.value).splitlines()
    neither = 'expected a string, or an object with either "text" or "messages"'
    assert told == [
        *(f"{path}:{number}: {neither}" for number in (2, 3, 4)),
        f"{path}:5: not JSON (Expecting value, column 1)",
        f"{path}:6: the text is empty",
        f'{path}:7: "text" must be a string',
        f"{path}:8: a message of the text needs \"role\" and \"content\", got {{'role': 'user'}}",
    ]


def test_a_file_without_texts_is_refused(tmp_path):
    (tmp_path / "texts.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no records"):
        read_texts(tmp_path / "texts.jsonl")
