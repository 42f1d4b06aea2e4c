"""`distmatch compare`, on folders that `distmatch eval` left."""

import json
import shutil

import pytest

from distmatch.cli import main
from tests.cli.small import refusal

ASKED = {"role": "user", "content": "red (A) or blue (B)?"}
QUESTION = {"messages": [ASKED], "choices": ["(A)", "(B)"], "answer": "(B)", "task": "colours"}


def measured(out, model, *suites):
    """A folder of suites."""
    assert main(["eval", str(model), "--out", str(out), "--suite", *suites]) == 0
    return str(out)


@pytest.fixture(scope="module")
def numbers(model, tmp_path_factory):
    """A folder with the suite of numbers."""
    return measured(tmp_path_factory.mktemp("n") / "n", model, "numbers", "numbers.per_kind=1")


def test_suites_are_compared_with_intervals_and_figures(model, tmp_path, capsys):
    (tmp_path / "questions.jsonl").write_text(json.dumps(QUESTION))
    argv = ["choices", f"choices.path={tmp_path / 'questions.jsonl'}", "given", "given.per_group=1"]
    folders = [measured(tmp_path / name, model, *argv) for name in ("before", "after")]
    assert main(["compare", *folders, "--out", str(tmp_path / "both")]) == 0
    told = capsys.readouterr().out
    assert "after - before" in told and "0.000 [0.000, 0.000]" in told and "correct_share" in told
    assert "\ntvd by group, each by itself\n" in told
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == [
        *("choices.png", "comparison.txt", "given.png", "report.html"),
    ]


def test_ways_of_asking_are_compared_within_a_folder(model, numbers, tmp_path, capsys):
    settings = {"questions": 2, "thoughts": 2, "max_stepwise_tokens": 2}
    told = (f"thinking.{name}={value}" for name, value in settings.items())
    out = measured(tmp_path / "out", model, "thinking", *told)
    assert main(["compare", out, "--out", str(tmp_path / "ways")]) == 0
    told = capsys.readouterr().out
    assert "step by step - at once" in told and (tmp_path / "ways" / "thinking.png").exists()
    told = refusal(capsys, "compare", numbers)
    assert "two folders or more, or one with a suite" in told


def test_a_folder_is_not_compared_with_itself(numbers, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(numbers)
    for twice in (numbers, "link", f"{numbers}/../n"):
        told = refusal(capsys, "compare", numbers, twice)
        assert "is given twice, and a model doesn't differ from itself" in told


def test_folders_of_one_name_are_told_apart_by_their_paths(numbers, tmp_path, capsys):
    other = tmp_path / "n"
    other.symlink_to(tmp_path / "kept")
    (tmp_path / "kept" / "numbers").mkdir(parents=True)
    shutil.copy(f"{numbers}/numbers/report.json", tmp_path / "kept" / "numbers")
    assert main(["compare", numbers, str(other)]) == 0
    assert f"{other} - {numbers}" in capsys.readouterr().out


def old_report(*hits):
    """Of items without words, as it was written before reports held how they are read."""
    return {
        "num_examples": len(hits),
        "confidence": 0.95,
        "num_resamples": 20,
        "seed": 0,
        "metrics": {"kl": {"mean": 0.5, "low": 0.5, "high": 0.5}},
        "ratios": {"kl": {"numerators": list(hits), "denominators": [1.0] * len(hits)}},
        "examples": [
            {"kl": hit, "prompt": f"text {row}", "metadata": {"group": "story", "number": row}}
            for row, hit in enumerate(hits)
        ],
    }


def old_answers(*given):
    """The same, of items that ask for words."""
    ones = [1.0] * len(given)
    off = [abs(0.25 - prob) for prob in given]
    return old_report(*off) | {
        "metrics": {"tvd": {"mean": 0.1, "low": 0.1, "high": 0.1}},
        "ratios": {"tvd": {"numerators": off, "denominators": ones}},
        "examples": [
            {
                **{"words": ["red", "blue"], "asked": [0.25, 0.75], "asked_other": 0.0},
                **{"given": [prob, 1 - prob], "given_other": 0.0},
                **{"asked_over_words": [0.25, 0.75], "given_over_words": [prob, 1 - prob]},
                **{"tvd": abs(0.25 - prob), "prompt": f"Say {row}.", "metadata": {}},
            }
            for row, prob in enumerate(given)
        ],
    }


def test_reports_that_say_nothing_of_how_they_are_read_are_still_compared(tmp_path, capsys):
    for name, shift in (("first", 0.0), ("second", 0.25)):
        (tmp_path / name / "ordinary").mkdir(parents=True)
        kept = old_report(0.25 + shift, 0.5 + shift)
        (tmp_path / name / "ordinary" / "report.json").write_text(json.dumps(kept))
        kept = old_answers(0.25 + shift, 0.25)  # of --data, which lay in the folder itself
        (tmp_path / name / "report.json").write_text(json.dumps(kept))
    folders = [str(tmp_path / name) for name in ("first", "second")]
    assert main(["compare", *folders, "--out", str(tmp_path / "both")]) == 0
    told = capsys.readouterr().out
    ordinary, examples = told[told.index("ordinary\n") :], told[told.index("examples\n") :]
    assert "0.250 [0.250, 0.250]" in ordinary and "0.125 [" in examples
    assert (tmp_path / "both" / "ordinary.png").exists()


@pytest.mark.parametrize("folders", [["nowhere"], ["nowhere", "elsewhere"]])
def test_a_folder_without_reports_is_refused(folders, capsys):
    assert "nowhere holds no report.json" in refusal(capsys, "compare", *folders)
