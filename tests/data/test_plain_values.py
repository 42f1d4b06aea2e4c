"""Records as other packages make them: taken as what they mean, or refused by name."""

import datetime
import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets import Dataset, DatasetDict

from distmatch.data import Example, WordDistribution, read_jsonl, to_examples, write_jsonl
from distmatch.errors import DataError

RECORD = {"prompt": "Say red or blue:", "words": ["red", "blue"], "probs": [0.75, 0.25]}
PLAIN = Example.from_record(RECORD)
HALF = "The \ud83d fox"


@pytest.mark.parametrize(
    "change",
    [
        {"probs": np.array([0.75, 0.25], dtype=np.float32)},
        {"probs": torch.tensor([0.75, 0.25])},
        {"probs": [torch.tensor(0.75), np.float64(0.25)]},
        {"probs": pd.Series([0.75, 0.25])},
        {"words": np.array(["red", "blue"], dtype=object)},
        {"words": np.array(["red", "blue"])},
        {"other": np.float32(0.0)},
        {"metadata": np.array({}, dtype=object)},
    ],
    ids=["array", "tensor", "numbers", "series", "words", "strings", "other", "object"],
)
def test_arrays_and_tensors_are_taken(change):
    assert Example.from_record(RECORD | change) == PLAIN


def test_a_number_of_numpys_for_other_is_a_number():
    target = WordDistribution(("red",), (0.9,), other=np.float32(0.1))
    assert target.other_prob == pytest.approx(0.1, abs=1e-8)
    assert type(target.other) is float


def test_messages_out_of_parquet_are_taken():
    message = {"role": "user", "content": "Say red."}
    prompt = np.array([message], dtype=object)
    turned = np.array([np.array([message], dtype=object)], dtype=object)
    row = Example.from_record(RECORD | {"prompt": prompt, "rotations": list(turned)})
    assert row.prompt == row.rotations[0] == (message,)


def test_numbers_of_other_packages_in_metadata_become_pythons(tmp_path):
    told = {"score": np.float32(0.5), "places": np.arange(2), "tensor": torch.tensor([1.0])}
    row = Example.from_record(RECORD | {"metadata": told})
    assert row.metadata == {"score": 0.5, "places": [0, 1], "tensor": [1.0]}
    write_jsonl(tmp_path / "rows.jsonl", [row])
    assert read_jsonl(tmp_path / "rows.jsonl") == [row]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"metadata": {"score": float("nan")}}, "metadata.score is nan, which JSON can't hold"),
        ({"metadata": {"a": [{"b": np.inf}]}}, r"metadata.a\[0\].b is inf"),
        ({"metadata": {"day": datetime.date(2026, 1, 2)}}, r'metadata.day .* such as "2026-01-02"'),
        ({"metadata": {1: "one"}}, "metadata has the key 1: keys must be strings"),
        ({"metadata": {"text": HALF}}, "metadata.text holds .* half of a surrogate pair"),
        ({"chat_template_kwargs": {"x": {1}}}, "chat_template_kwargs.x is {1}"),
        ({"prompt": HALF}, r"the prompt holds '\\ud83d' as its character 5, half of a surrogate"),
        ({"prompt": [{"role": "user", "content": HALF}]}, 'message 1, "content", holds'),
        ({"words": ["red", HALF]}, "half of a surrogate pair"),
        ({"prefill": HALF}, "the prefill holds"),
        ({"rotations": [HALF]}, "the rotation holds"),
        (
            {"chat_template_kwargs": {"add_generation_prompt": False}},
            '"add_generation_prompt" can\'t be given',
        ),
        ({"chat_template_kwargs": {"tokenize": True}}, '"tokenize" can\'t be given'),
    ],
)
def test_what_no_json_or_tokenizer_can_hold_is_refused_with_its_line(change, expected, tmp_path):
    with pytest.raises(DataError, match=expected):
        Example.from_record(RECORD | change)
    with pytest.raises(DataError, match=f"row 1: .*{expected}"):
        to_examples([RECORD, RECORD | change])
    try:
        lines = [json.dumps(row) for row in (RECORD, RECORD | change)]
    except TypeError:
        return
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    if 1 not in change.get("metadata", {}):  # whose key JSON writes as text
        with pytest.raises(DataError, match=f"rows.jsonl:2: .*{expected}"):
            read_jsonl(tmp_path / "rows.jsonl")


def test_tables_are_taken():
    frame = pd.DataFrame([RECORD, RECORD | {"prefill": "It is"}])
    assert [row.prefill for row in to_examples(frame)] == ["", "It is"]
    assert to_examples(pa.Table.from_pylist([RECORD])) == [PLAIN]
    assert to_examples(Dataset.from_list([RECORD]).with_format("numpy")) == [PLAIN]


def test_what_is_no_list_of_records_is_told_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r'read a file first, distmatch.data.read_jsonl\("x.jsonl'):
        to_examples("x.jsonl")
    with pytest.raises(DataError, match="read a file first"):
        to_examples(tmp_path / "x.jsonl")
    splits = DatasetDict(train=Dataset.from_list([RECORD]), test=Dataset.from_list([RECORD]))
    with pytest.raises(DataError, match=r'name the split, as in rows\["train"\]'):
        to_examples(splits)
    with pytest.raises(DataError, match="put it in a list"):
        to_examples(RECORD)
    with pytest.raises(DataError, match="expected a list of records, got 3"):
        to_examples(3)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (json.dumps([RECORD, RECORD], indent=1).encode(), "holds a JSON array over several lines"),
        (json.dumps(RECORD, indent=2).encode(), "holds one JSON object over several lines"),
        (b"[\n" + json.dumps(RECORD).encode() + b"\n]\n", "holds a JSON array"),
        (gzip.compress(json.dumps(RECORD).encode()), "is compressed by gzip, expected JSON lines"),
        (b"PAR1....", "is a parquet file"),
        (json.dumps(RECORD).encode("utf-16"), "is UTF-16 text"),
    ],
    ids=["array", "object", "bracketed", "gzip", "parquet", "utf-16"],
)
def test_a_file_of_another_kind_is_said_to_be_one(content, expected, tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=f"rows.jsonl {expected}"):
        read_jsonl(tmp_path / "rows.jsonl")


def test_a_byte_order_mark_is_passed_over(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(RECORD).encode() + b"\n")
    assert read_jsonl(tmp_path / "rows.jsonl") == [PLAIN]
