"""`distmatch eval --endpoint`, against a server in this process."""

import json
from dataclasses import replace

import pytest

from distmatch.cli import main
from distmatch.data import output_control, write_jsonl
from distmatch.evals import Report, suites
from tests.evals.backends.serving import serving
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def server():
    with serving(tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()) as served:
        yield served


@pytest.fixture
def few(monkeypatch):
    drawn = output_control(n=1, n_test=3, words=2)[1]
    examples = [replace(one, metadata={**one.metadata, "group": "2 words"}) for one in drawn]
    monkeypatch.setattr(suites.given, "examples", lambda seed: examples)
    return examples


def test_suites_are_asked_of_an_endpoint_kept_and_gone_on_with(server, few, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["eval", "tiny", "--endpoint", server.url, "--suite", "given", "--out", str(out)]
    argv += ["--samples", "4", "--parallel", "1"]
    assert main([*argv, "--max-requests", "4"]) == 2
    told = capsys.readouterr().err
    assert "the limit of 4 requests is reached" in told and "Traceback" not in told
    assert (
        f"(4 of 6 prompts are answered; what they took is kept in {out / 'replies.jsonl'}" in told
    )
    assert not (out / "given").exists()
    asked = len(server.asked)
    assert main([*argv, "--max-requests", "2"]) == 0
    assert len(server.asked) == asked + 2
    assert "tvd_low" in capsys.readouterr().out
    settings = json.loads((out / "given" / "settings.json").read_text())
    assert settings["url"] == server.url and settings["samples"] == 4
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("given, measured before\n")
    assert main([*argv, "--top-k", "5"]) == 2
    assert "was measured with top_k 20, not 5: choose another --out" in capsys.readouterr().err


def test_examples_of_a_file_are_asked_of_an_endpoint(server, few, tmp_path, capsys):
    write_jsonl(tmp_path / "test.jsonl", few)
    argv = ["eval", "tiny", "--endpoint", server.url, "--data", str(tmp_path / "test.jsonl")]
    server.asked.clear()
    argv += ["--top-k", "0", "--samples", "3", "--extra", '{"n": 1}']
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    assert len(server.asked) == 6 * 3 and all(body["n"] == 1 for body in server.asked)
    report = Report.load(tmp_path / "out" / "report.json")
    assert report.num_examples == 3 and report.table() in capsys.readouterr().out
    assert (tmp_path / "out" / "replies.jsonl").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--suite", "ordinary"], "ordinary can't be asked of an endpoint"),
        (["--suite", "givn"], 'unknown suite "givn"'),
        (["--suite", "given", "--adapter", "x"], "--adapter makes sense only without --endpoint"),
        (["--suite", "given", "--batch-size", "1"], "--batch-size makes sense only without"),
        (["--suite", "given", "--key-env", "NO_KEY"], "NO_KEY holds no key for http"),
        (["--suite", "given", "--extra", "n=1"], "--extra is n=1, expected a JSON object such as"),
        (["--suite", "given", "--timeout", "0"], "timeout is 0.0, expected at least 0.001"),
        (["--suite", "given", "--max-tokens", "0"], "tokens is 0, expected at least 1"),
        (["--suite", "given", "--endpoint", "host"], 'the endpoint is "host", expected a URL'),
    ],
)
def test_what_cannot_be_asked_of_an_endpoint_is_refused(argv, message, few, capsys):
    assert main(["eval", "tiny", "--endpoint", "http://127.0.0.1:1/v1", *argv]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("distmatch: error: ") == 1


def test_options_of_endpoints_need_one(capsys):
    assert main(["eval", "tiny", "--suite", "given", "--top-k", "0", "--max-tokens", "9"]) == 2
    told = capsys.readouterr().err
    assert "--top-k and --max-tokens make sense only with --endpoint: give its URL" in told
