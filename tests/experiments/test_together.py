"""Several experiments read together: p-values corrected, and what tested nothing left out."""

import json

import pytest

from distmatch.cli import main
from distmatch.errors import ConfigError
from distmatch.experiments import read_together


def leave(folder, outcome, p=None, interval=None, truth=None):
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(json.dumps({"name": folder.name}))
    evidence = None if interval is None else {"interval": interval, "truth": truth}
    told = {"interval": [0.02, 0.01, 0.03], "truth": 0.75} if outcome == "blind" else None
    verdict = {"outcome": outcome, "p": p, "evidence": evidence, "told": told}
    (folder / "verdict.json").write_text(json.dumps(verdict))
    return folder


@pytest.fixture
def folders(tmp_path):
    told = "it reports its own"
    return [
        leave(tmp_path / "shares", told, 0.01, [0.5, 0.2, 0.8], 1.0),
        leave(tmp_path / "disposition", told, 0.04, [0.4, 0.1, 0.7], 1.0),
        leave(tmp_path / "preferences", "no report of its own found", 0.3, [0.1, None, None], 1.0),
        leave(tmp_path / "trained_for", "blind"),
    ]


def test_p_values_are_holms_and_a_report_may_not_stand_among_others(folders):
    """Of three results 0.01, 0.04 and 0.3: times 3, 2 and 1, none below one before it."""
    kept = read_together(folders)
    assert [one.corrected for one in kept[:3]] == pytest.approx([0.03, 0.08, 0.3])
    assert kept[3].corrected != kept[3].corrected  # tested nothing
    assert [one.outcome for one in kept] == [
        "it reports its own",
        "not with so many tests",
        "no report of its own found",
        "blind",
    ]
    assert read_together(folders[1:2])[0].outcome == "it reports its own"


def test_compare_reads_experiments_together(folders, capsys, tmp_path):
    assert main(["compare", *map(str, folders), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "0.500 [0.200, 0.800]" in told
    blind = next(line for line in told.splitlines() if line.startswith("trained_for"))
    assert blind.split()[2:] == ["blind", "-", "0.020", "[0.010,", "0.030]", "0.75", "-", "-"]
    assert told.startswith((tmp_path / "out" / "comparison.txt").read_text())
    assert (tmp_path / "out" / "report.html").is_file()


def test_folders_of_other_kinds_and_unfinished_ones_are_refused(folders, capsys, tmp_path):
    (folders[1] / "verdict.json").unlink()
    with pytest.raises(ConfigError, match=r"disposition holds no verdict .* finish it first"):
        read_together(folders)
    assert main(["compare", *map(str, folders)]) == 2
    (folders[0] / "verdict.json").write_text("{")
    assert main(["compare", str(folders[0])]) == 2
    assert "start the experiment again" in capsys.readouterr().err
