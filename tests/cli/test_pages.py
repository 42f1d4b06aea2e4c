"""`distmatch report`: the page of what lies in a folder."""

import shutil

from distmatch.cli import main
from tests.cli.small import refusal


def test_the_page_of_a_run_and_of_reports_is_written_anew(trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    there = (run / "report.html").read_text(encoding="utf-8")
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"wrote {run / 'report.html'}\n"
    assert (run / "report.html").read_text(encoding="utf-8") == there
    for told in ("LoRA on all linear sites, rank 4, 4 steps, 16 rows", "examples (6)", "Training"):
        assert told in there
    assert main(["report", str(run / "after")]) == 0
    after = (run / "after" / "report.html").read_text(encoding="utf-8")
    assert "A model was asked examples (6 items)." in after


def test_a_folder_without_reports_is_refused(tmp_path, capsys):
    assert "holds nothing to report" in refusal(capsys, "report", tmp_path)
    (tmp_path / "run.json").write_text('{"suites": {"examples": {}}}')
    assert "can't read the report" in refusal(capsys, "report", tmp_path)
