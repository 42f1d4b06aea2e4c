"""`distmatch eval --endpoint`, against a server in this process."""

import json

import pytest

from distmatch.cli import main
from distmatch.data import output_control, write_jsonl
from distmatch.evals import Report
from tests.evals.backends.serving import serving
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def server():
    with serving(tiny_model("llama", max_position_embeddings=1024), tiny_tokenizer()) as served:
        yield served


@pytest.fixture
def few():
    return output_control(n=1, n_test=3, words=2)[1]


def test_suites_are_asked_of_an_endpoint_kept_and_gone_on_with(server, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["eval", "tiny", "--endpoint", server.url, "--out", str(out), "--samples", "4"]
    argv += ["--parallel", "1", "--suite", "numbers", "numbers.per_kind=1"]
    assert main([*argv, "--max-requests", "4"]) == 2
    told = capsys.readouterr().err
    assert "the limit of 4 requests is reached" in told and "Traceback" not in told
    assert (
        f"(4 of 7 prompts are answered; what they took is kept in {out / 'replies.jsonl'}" in told
    )
    assert not (out / "numbers").exists()
    asked = len(server.asked)
    assert main([*argv, "--max-requests", "3"]) == 0
    assert len(server.asked) == asked + 3
    assert "tvd_low" in capsys.readouterr().out
    settings = json.loads((out / "numbers" / "settings.json").read_text())
    assert settings["url"] == server.url and settings["samples"] == 4
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("numbers, measured before\n")
    assert main([*argv, "--top-k", "5"]) == 2
    assert (
        "was measured with top_k 20, not 5: remove it, or choose another folder"
        in capsys.readouterr().err
    )


def test_a_base_at_the_same_url_is_asked_within_the_same_limits(server, tmp_path, capsys):
    argv = ["eval", "tiny", "--endpoint", server.url, "--api", "completions", "--beneath", "base"]
    argv += ["--out", str(tmp_path), "--suite", "deviation", "deviation.passages=2"]
    argv += ["deviation.patterns=0", "deviation.per_text=1", "deviation.alone=1"]
    argv += ["deviation.room=0", "deviation.spare=4"]
    assert main([*argv, "--max-requests", "4"]) == 2
    assert "the limit of 4 requests is reached" in capsys.readouterr().err
    assert main(argv) == 0
    assert {"tiny", "base"} <= {body["model"] for body in server.asked}
    settings = json.loads((tmp_path / "deviation" / "settings.json").read_text())
    assert settings["beneath"]["model"] == "base" and settings["model"] == "tiny"


def test_examples_of_a_file_are_asked_of_an_endpoint(server, few, tmp_path, capsys):
    write_jsonl(tmp_path / "test.jsonl", few)
    argv = ["eval", "tiny", "--endpoint", server.url, "--data", str(tmp_path / "test.jsonl")]
    server.asked.clear()
    argv += ["--top-k", "0", "--samples", "3", "--extra", '{"n": 1}']
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    assert len(server.asked) == 6 * 3 and all(body["n"] == 1 for body in server.asked)
    report = Report.load(tmp_path / "out" / "examples" / "report.json")
    assert report.num_examples == 3 and report.table() in capsys.readouterr().out
    assert (tmp_path / "out" / "replies.jsonl").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--suite", "ordinary"], "ordinary can't be asked here: it needs whole distributions"),
        (["--suite", "deviation"], "it needs being asked without its adapter"),
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
def test_what_cannot_be_asked_of_an_endpoint_is_refused(argv, message, capsys):
    assert main(["eval", "tiny", "--endpoint", "http://127.0.0.1:1/v1", *argv]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("distmatch: error: ") == 1


def test_options_of_endpoints_need_one(capsys):
    assert main(["eval", "tiny", "--suite", "given", "--beneath", "b", "--max-tokens", "9"]) == 2
    told = capsys.readouterr().err
    assert "--beneath and --max-tokens make sense only with --endpoint: give its URL" in told
