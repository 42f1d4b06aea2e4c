"""A GGUF file in the commands and in run files."""

import json

import pytest

from distmatch.cli import main
from tests.cli.small import metrics, refusal, run_file
from tests.models.gguf.writing import write_model_gguf
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    same = tiny_model("llama", num_hidden_layers=2, max_position_embeddings=1024)
    return write_model_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", same)


@pytest.fixture(autouse=True)
def cache(monkeypatch, file):
    monkeypatch.setenv("DISTMATCH_CACHE", str(file.parent / "cache"))


def test_words_are_measured_on_a_file_as_on_its_directory(model, file, tmp_path):
    record = {"prompt": [{"role": "user", "content": "red or blue?"}], "words": ["red", "blue"]}
    (tmp_path / "data.jsonl").write_text(json.dumps(record | {"probs": [0.7, 0.3]}))
    for name in (model, file):
        argv = ["eval", name, "--data", tmp_path / "data.jsonl", "--out", tmp_path / name.name]
        assert main([str(part) for part in argv]) == 0
    rows = [
        path.read_text(encoding="utf-8")
        for name in (model, file)
        for path in sorted((tmp_path / name.name).rglob("rows.jsonl"))
    ]
    assert len(rows) == 2 and rows[0] == rows[1]


def test_a_run_trains_on_a_file_as_on_its_directory(trained, file, tmp_path):
    assert main(["train", str(run_file(tmp_path, file))]) == 0
    assert metrics(tmp_path / "run") == metrics(trained)
    base = json.loads((tmp_path / "run" / "base.json").read_text())
    assert base["weights"] == json.loads((trained / "base.json").read_text())["weights"]
    argv = ["eval", str(file), "--adapter", str(tmp_path / "run"), "--suite", "given"]
    assert main([*argv, "given.per_group=1", "--out", str(tmp_path / "out")]) == 0


def test_a_file_that_is_cut_short_is_refused(file, tmp_path, capsys):
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:-64])
    told = refusal(capsys, "train", run_file(tmp_path, tmp_path / "cut.gguf"))
    assert "cut.gguf is cut short" in told
    assert "there is no file" in refusal(capsys, "train", run_file(tmp_path, "none.gguf"))
