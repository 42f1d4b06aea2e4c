"""`distmatch eval --suite` and `distmatch compare`, on a tiny model."""

import json
import shutil
from pathlib import Path

import pytest

from distmatch.cli import main
from distmatch.data.tasks.numbers import KINDS
from distmatch.evals import Report, suites

ROOT = Path(__file__).parents[2]


@pytest.fixture
def few(monkeypatch):
    """The suites given and numbers with an example a group, for a small model."""
    for suite in (suites.given, suites.numbers):
        first = {example.metadata["group"]: example for example in suite.examples()}
        examples = list(first.values())
        monkeypatch.setattr(suite, "examples", lambda seed, examples=examples: examples)


def test_suites_are_measured_kept_and_compared(model, few, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    argv = ["eval", str(model), "--suite", "given", "numbers", "--out"]
    assert main([*argv, str(first)]) == 0
    told = capsys.readouterr().out
    assert "5 words" in told and "poisson" in told and "wasserstein1" in told
    assert sorted(path.name for path in (first / "given").iterdir()) == [
        *("groups.png", "report.json", "rows.jsonl", "settings.json"),
    ]
    rows = (first / "numbers" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["metadata"]["group"] for row in rows] == list(KINDS)
    assert main([*argv, str(second)]) == 0
    assert main(["compare", str(first), str(second), "--out", str(tmp_path / "both")]) == 0
    told = capsys.readouterr().out
    assert "second - " in told and "0.000 [0.000, 0.000]" in told
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == [
        *("comparison.txt", "given.png", "numbers.png"),
    ]


def test_ways_of_asking_are_compared_within_a_folder(model, few, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suites.thinking, "_NUM_QUESTIONS", 2)
    monkeypatch.setattr(suites.thinking, "_NUM_THOUGHTS", 2)
    monkeypatch.setattr(suites.thinking, "_MOST_STEPWISE_TOKENS", 2)
    out = tmp_path / "out"
    assert main(["eval", str(model), "--suite", "thinking", "--out", str(out)]) == 0
    assert main(["compare", str(out), "--out", str(tmp_path / "ways")]) == 0
    told = capsys.readouterr().out
    assert "step by step - at once" in told and (tmp_path / "ways" / "thinking.png").exists()
    assert main(["eval", str(model), "--suite", "numbers", "--out", str(tmp_path / "n")]) == 0
    assert main(["compare", str(tmp_path / "n")]) == 2
    assert "two folders or more, or one with a suite" in capsys.readouterr().err


def test_a_measured_suite_is_not_measured_again(model, few, tmp_path, capsys, monkeypatch):
    argv = ["eval", str(model), "--suite", "given", "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    table = capsys.readouterr().out.split("\n\n")[0]
    monkeypatch.setattr("distmatch.cli.suites.evaluate", None)
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert table.split("\n", 1)[1] in told and told.startswith("given, measured before\n")
    assert main([*argv, "--seed", "1"]) == 2
    assert "was measured with seed 0, not 1: choose another --out" in capsys.readouterr().err


def test_a_suite_measures_the_adapter_it_is_given(model, trained, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["eval", str(model), "--suite", "ordinary", "--out", str(out)]
    assert main([*argv, "--adapter", str(trained)]) == 0
    assert Report.load(out / "ordinary" / "report.json").metrics["kl"].mean > 0
    assert main(argv) == 2
    assert "was measured with adapter" in capsys.readouterr().err


MODELS = """
[[family]]
name = "tiny"
size = 0.1
base = "{base}"
instruct = "{instruct}"

[[family]]
name = "gone"
size = 7
instruct = "{folder}/nowhere"
"""


def test_a_list_of_models_is_measured_and_goes_on_where_one_fails(
    model, few, tmp_path, capsys, monkeypatch
):
    base = tmp_path / "base"
    shutil.copytree(model, base)
    (base / "chat_template.jinja").unlink()
    listed = tmp_path / "models.toml"
    listed.write_text(MODELS.format(base=base, instruct=model, folder=tmp_path), encoding="utf-8")
    out = tmp_path / "out"
    argv = ["eval", "--models", str(listed), "--suite", "given", "numbers", "--out", str(out)]
    assert main(argv) == 2
    told = capsys.readouterr()
    assert "1 models could not be measured:\ngone, instruct: " in told.err
    table = (out / "models.txt").read_text(encoding="utf-8")
    assert table in told.out
    kinds = [line.split("0.1B")[-1].split()[0] for line in table.splitlines()[2:4]]
    assert kinds == ["base", "instruct"] and "base - instruct" in table
    assert {path.name for path in out.iterdir()} == {
        *("tiny-base", "tiny-instruct", "models.txt", "given-tvd.png", "given-control_tvd.png"),
        *("numbers-tvd.png", "numbers-control_tvd.png"),
    }
    monkeypatch.setattr("distmatch.cli.suites.evaluate", None)  # measured before
    assert main(argv) == 2 and table in capsys.readouterr().out
    # The base model, without a template, isn't asked for words that only a template ends
    folders = [str(out / f"tiny-{kind}") for kind in ("base", "instruct")]
    assert main(["compare", *folders]) == 0
    assert "items that all were asked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no models"),
        ('[model]\nname = "x"', r"holds ['model']"),
        ('[[family]]\nname = "x"\nsize = 1', 'neither "base" nor "instruct"'),
        ('[[family]]\nname = "x"\nbase = "y"', '[family 1] has no "size"'),
        ('[[family]]\nname = "x"\nsize = 1\nbase = "y"\nchat = "z"', 'key of [family 1] "chat"'),
        ('[[family]]\nname = "x"\nsize = 0\nbase = "y"', "expected billions"),
        ('[[family]]\nname = "x"\nsize = 1\nbase = "y"\n' * 2, "two families"),
        ("family = ", "is not TOML"),
    ],
)
def test_a_model_list_that_cannot_be_used_is_refused(text, message, tmp_path, capsys):
    (tmp_path / "models.toml").write_text(text, encoding="utf-8")
    argv = ["eval", "--models", str(tmp_path / "models.toml"), "--suite", "given", "--out", "x"]
    assert main(argv) == 2
    assert message in capsys.readouterr().err


def test_the_studys_list_can_be_read():
    from distmatch.cli.models import read_models

    families = read_models(ROOT / "examples" / "models.toml")
    assert [list(family.choices) for family in families] == [["base", "instruct"]] * 6 + [
        ["instruct"]
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["eval", "--suite", "given"], "no model: name one"),
        (["eval", "x", "--models", "y", "--suite", "given"], "model is of one model"),
        (["eval", "--models", "y", "--data", "z", "--out", "o"], "data is of one model"),
        (["eval", "--models", "y", "--suite", "given"], "--models needs --out"),
        (["eval", "nothing", "--suite", "givn"], 'unknown suite "givn"'),
        (["compare", "nowhere"], "nowhere holds no report.json"),
        (["eval", "nothing", "--suite", "given", "--batch-size", "0"], "--batch-size is 0"),
        (["eval", "nothing", "--data", "x.jsonl", "--seed", "1"], "--seed is of suites"),
        (["compare", "nowhere", "elsewhere"], "nowhere holds no report.json"),
    ],
)
def test_what_cannot_be_compared_is_refused(argv, message, capsys):
    assert main(argv) == 2
    assert message in capsys.readouterr().err
