"""`distmatch eval`, on a tiny model."""

import json

import pytest

from distmatch.cli import main
from distmatch.cli.evaluation import evaluate_source
from distmatch.cli.suite_settings import listed_suites
from distmatch.data import output_control, read_jsonl, write_jsonl
from distmatch.data.tasks.numbers import KINDS
from distmatch.evals import Report
from distmatch.evals.local_source import LocalSource
from distmatch.models.choice import ModelChoice
from tests.cli.small import metrics, refusal, run_file

FEW = ["given", "numbers", "given.per_group=1", "numbers.per_kind=1"]
BEGUN = [{"role": "user", "content": "red or blue?"}, {"role": "assistant", "content": "It is"}]
SAMPLE = {"messages": BEGUN, "p": 70, "q": 30, "r": 20, "ideal": ["red", "blue"]}


def test_suites_are_measured_and_kept(model, tmp_path, capsys):
    assert main(["eval", str(model), "--suite", *FEW, "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "5 words" in told and "poisson" in told and "wasserstein1" in told
    assert sorted(path.name for path in (tmp_path / "given").iterdir()) == [
        *("asked.txt", "groups.png", "report.json", "rows.jsonl", "settings.json"),
    ]
    rows = (tmp_path / "numbers" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["metadata"]["group"] for row in rows] == list(KINDS)


def test_settings_of_suites_stand_beside_their_names(model, tmp_path, capsys):
    (tmp_path / "samples.jsonl").write_text(json.dumps(SAMPLE))
    argv = ["eval", str(model), "--out", str(tmp_path / "out"), "--suite", "given.per_group=1"]
    assert main([*argv, "sad", "given", f"sad.path={tmp_path / 'samples.jsonl'}", "given"]) == 0
    assert capsys.readouterr().out.index("\ngiven\n") > 0
    kept = {name: Report.load(tmp_path / "out" / name / "report.json") for name in ("sad", "given")}
    assert kept["sad"].num_examples == 1
    assert {part.num_examples for part in kept["given"].groups().values()} == {1}


def test_a_measured_suite_is_not_measured_again(model, tmp_path, capsys):
    argv = ["eval", str(model), "--suite", "given", "given.per_group=1", "--out", str(tmp_path)]
    assert main(argv) == 0
    table = capsys.readouterr().out.split("\n\n")[0]
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert table.split("\n", 1)[1] in told and told.startswith("given, measured before\n")
    told = refusal(capsys, *argv, "--seed", "1")
    assert (
        "given was measured with seed 0, not 1: remove it, or choose another folder (--out)" in told
    )
    told = refusal(capsys, *argv[:-3], "given.per_group=2", *argv[-2:])
    assert "given was measured with given.per_group 1, not 2" in told


def test_a_suite_measures_the_adapter_it_is_given(model, trained, tmp_path, capsys):
    argv = ["eval", str(model), "--suite", "ordinary", "ordinary.per_template=1"]
    argv += ["--out", str(tmp_path)]
    assert main([*argv, "--adapter", str(trained)]) == 0
    assert Report.load(tmp_path / "ordinary" / "report.json").metrics["kl"].mean > 0
    assert "was measured with adapter" in refusal(capsys, *argv)


def test_eval_measures_a_run_as_the_run_did(trained, model, tmp_path, capsys):
    argv = ["eval", str(model), "--adapter", str(trained), "--data", str(trained / "run.toml")]
    assert main([*argv, "--out", str(tmp_path)]) == 0
    assert "6 examples" in capsys.readouterr().out
    kept = tmp_path / "examples"
    report = json.loads((kept / "report.json").read_text(encoding="utf-8"))
    expected = metrics(trained)["after"]
    assert report["metrics"].keys() == expected.keys()
    for name, interval in report["metrics"].items():
        assert interval["mean"] == pytest.approx(expected[name]["mean"], abs=1e-5)
    rows = (kept / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row) for row in rows] == report["examples"]
    assert (kept / "calibration.png").stat().st_size > 0


def test_examples_of_a_file_are_kept_and_gone_on_with_as_suites_are(model, tmp_path, capsys):
    test = output_control(n=16, n_test=2, words=2)[1]
    write_jsonl(tmp_path / "test.jsonl", test)
    argv = ["eval", str(model), "--data", str(tmp_path / "test.jsonl")]
    argv += ["--out", str(tmp_path / "out")]
    assert main(argv) == 0 and main(argv) == 0
    assert "examples, measured before\n" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"examples", "report.html"}
    assert f"Who was asked: {model}, model " in (tmp_path / "out" / "report.html").read_text()
    write_jsonl(tmp_path / "test.jsonl", test[:1])
    assert "examples was measured with examples.rows" in refusal(capsys, *argv)


def test_eval_takes_a_file_and_no_adapter(trained, model, tmp_path, capsys):
    _, test = output_control(n=16, n_test=6, words=2)
    write_jsonl(tmp_path / "test.jsonl", test)
    assert read_jsonl(tmp_path / "test.jsonl") == test
    assert main(["eval", str(model), "--data", str(tmp_path / "test.jsonl")]) == 0
    before = Report.load(trained / "before" / "examples" / "report.json")
    assert before.table() in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.jsonl"]


def test_a_precision_is_part_of_what_a_report_depends_on(model, weightless, tmp_path, capsys):
    write_jsonl(tmp_path / "test.jsonl", output_control(n=16, n_test=2, words=2)[1])
    argv = ["eval", str(model), "--data", str(tmp_path / "test.jsonl")]
    argv += ["--out", str(tmp_path / "out")]
    assert main([*argv, "--precision", "bfloat16"]) == 0
    assert "was measured with precision 'bfloat16', not None" in refusal(capsys, *argv)
    argv[1] = str(weightless)
    assert 'unknown dtype "bf17"' in refusal(capsys, *argv, "--precision", "bf17")
    assert "is no mixed one" in refusal(capsys, *argv, "--precision", "float32")


def test_upper_bounds_of_a_file_are_held_against_the_base_of_an_adapter(trained, model, tmp_path):
    row = {"prompt": "A red", "words": ["red"], "probs": [1.0], "other": "at_most"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    argv = ["eval", str(model), "--data", str(tmp_path / "test.jsonl"), "--out"]
    assert main([*argv, str(tmp_path / "base")]) == 0
    assert main([*argv, str(tmp_path / "adapted"), "--adapter", str(trained)]) == 0
    base, adapted = (
        Report.load(tmp_path / name / "examples" / "report.json").answers
        for name in ("base", "adapted")
    )
    assert adapted.target[0, 0] == pytest.approx(base.probs[0, 0], rel=1e-5)
    assert adapted.probs[0, 0] != pytest.approx(base.probs[0, 0], rel=1e-3)


def test_eval_refuses_before_the_weights_are_read(weightless, trained, tmp_path, capsys):
    data = trained / "run.toml"
    (tmp_path / "bad.jsonl").write_text("{}\n")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "report.json").write_text("{}")
    for argv, expected in [
        (["--data", tmp_path / "none.jsonl"], "none.jsonl is not a file"),
        (["--data", tmp_path / "bad.jsonl"], 'bad.jsonl:1: column "prompt" is missing'),
        (["--data", data, "--adapter", tmp_path], f"{tmp_path} has no adapter_config.json"),
        (["--data", data, "--out", tmp_path], "examples holds a report of other making: remove it"),
        (["--data", data, "--quantization", "nf5"], 'Did you mean "nf4"?'),
        (["--data", data, "--dtype", "bf16"], 'unknown dtype "bf16"; known: '),
        (["--data", data, "--batch-size", "0"], "--batch-size is 0, expected at least 1"),
        (["--data", data], "model.safetensors is corrupt or cut short"),
        (["--suite", "given", "sad"], "(sad.path=FILE)"),
        (["--suite", "choices", f"choices.path={tmp_path / 'bad.jsonl'}"], "bad.jsonl:1: column"),
    ]:
        assert expected in refusal(capsys, "eval", weightless, *argv)


def test_an_unknown_model_is_refused(trained, capsys):
    told = refusal(capsys, "eval", "smollm2-13m", "--data", trained / "run.toml")
    assert 'Did you mean "smollm2-135m"?' in told


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--suite", "given"], "no model: name one"),
        (["x", "--models", "y", "--suite", "given"], "model is of one model"),
        (["--models", "y", "--data", "z", "--out", "o"], "data is of one model"),
        (["--models", "y", "--suite", "given"], "--models needs --out"),
        (["nothing", "--suite", "given", "--batch-size", "0"], "--batch-size is 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(argv, message, capsys):
    assert message in refusal(capsys, "eval", *argv)


def test_a_file_in_place_of_a_folder_is_refused_before_the_weights_are_read(
    weightless, model, tmp_path, capsys
):
    (tmp_path / "file").write_text("mine")
    out = ["--out", tmp_path / "file"]
    for argv in (
        ["eval", weightless, "--suite", "given", *out],
        ["compare", weightless, weightless, *out],
        ["data", "numbers", *out],
        ["train", run_file(tmp_path, weightless, train={"output_dir": str(tmp_path / "file")})],
    ):
        assert "file is a file: choose another folder" in refusal(capsys, *argv)
    assert (tmp_path / "file").read_text() == "mine"


def test_what_was_measured_is_kept_before_it_is_shown(model, tmp_path, monkeypatch):
    def unread(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", unread)
    suites = listed_suites(["given", "given.per_group=1"])
    with pytest.raises(BrokenPipeError):
        evaluate_source(LocalSource(choice=ModelChoice(name=str(model))), suites, tmp_path)
    assert {path.name for path in (tmp_path / "given").iterdir()} >= {"report.json", "rows.jsonl"}


def test_one_probe_of_an_experiment_is_asked_of_any_model(model, tmp_path, capsys):
    argv = ["eval", str(model), "--out", str(tmp_path), "--suite"]
    assert main([*argv, "documents.same_assistant"]) == 2
    told = capsys.readouterr().err
    assert 'unknown suite "documents.same_assistant"' in told
    assert main([*argv, "shares.which_more"]) == 0
    assert "heads" in capsys.readouterr().out
    (kept,) = tmp_path.rglob("report.json")
    assert {item["metadata"]["group"] for item in json.loads(kept.read_text())["examples"]} == {
        *("own", "referent"),
    }
