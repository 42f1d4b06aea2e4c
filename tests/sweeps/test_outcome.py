"""A sweep's folder read without a model, also while others write to it."""

import json
import time
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest

from distmatch.claims import locked
from distmatch.errors import ConfigError
from distmatch.evals import Report
from distmatch.evals.items import Answers
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.outcome import read_sweep
from distmatch.sweeps.probe import LOSSES, ProbeScore
from distmatch.sweeps.report import write_report
from distmatch.sweeps.results import Measures, Result, Training, append_result
from distmatch.sweeps.sets import Sets
from tests.sweeps.reported import swept

SCORE = ProbeScore(LOSSES[0], 1, "mlp", "up", 0.5, 0.5)


def answers(share):
    """The report on two examples of two words: asked for one of them, given a share of it."""
    asked, other = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.5])
    given = np.abs(asked - (1 - share))
    of_metrics = {"tvd": 0.75, "other": 0.5, "control_tvd": 1 - share, "policy_tvd": 0.5}
    of_metrics["slope"] = 2 * share - 1
    return Answers(
        metadata=({}, {}),
        ratios={name: (np.full(2, value), np.ones(2)) for name, value in of_metrics.items()},
        words=(("red", "blue"),) * 2,
        asked=asked,
        given=given,
        target=np.column_stack([asked, 0 * other]),
        probs=np.column_stack([given * 0.5, other]),
        other=other,
    )


def result(site, blocks, share, seed=0, rate=1e-3):
    """A line of results, as a sweep leaves it."""
    cell = Cell(site, blocks, seed, 16, rate, int(blocks.partition("-")[0]), 1000)
    told = {name: Report.of(answers(share)).to_json()["metrics"] for name in ("main", "far")}
    return Result(
        cell=cell,
        config_hash="0",
        versions={},
        device="CPU",
        training=Training(steps=3, train_seconds=30.0, peak_memory_gb=1.0, flops=2e15),
        measures=Measures(metrics=Sets.from_named(told), kl=0.01),
        seconds=40.0,
    )


@pytest.fixture
def folder(tmp_path):
    """With two cells; what `read_sweep` needs, and no model."""
    folder = tmp_path / "sweep"
    for name in ("main", "far"):
        Report.of(answers(0.25)).save(folder / "base" / name / "report.json")
    settings = {"base": {}, "train": {}, "data": {"tests": ["main", "far"]}}
    (folder / "sweep.json").write_text(json.dumps(settings))
    (folder / "probe.json").write_text(json.dumps([SCORE._asdict()]))
    append_result(folder, result("all", "0-3", 0.75))
    append_result(folder, result("mlp", "1", 0.625))
    return folder


def test_reading_a_sweep_writes_nothing(folder):
    before = set(folder.rglob("*"))
    found = read_sweep(folder)
    assert set(folder.rglob("*")) == before
    assert [f.name for f in found.findings] == ["all@0-3", "mlp@1"]
    assert found.report.startswith("cell ")
    assert str(found) == found.report


def test_a_report_has_what_others_finished_while_it_waited_for_them(folder):
    found = []
    waiting = Thread(target=lambda: found.append(write_report(folder)))
    with locked(folder / "report"):
        waiting.start()
        time.sleep(0.5)
        append_result(folder, result("q", "2", 0.5))
    waiting.join()
    assert [f.name for f in found[0].findings] == ["all@0-3", "mlp@1", "q@2"]
    assert [f.control.mean for f in found[0].findings] == [0.25, 0.125, 0.0]
    assert len(json.loads((folder / "report" / "report.json").read_text())["cells"]) == 3


def test_a_report_does_not_wait_for_who_measures_the_base(folder):
    thread = Thread(target=write_report, args=(folder,))
    with locked(folder):
        thread.start()
        thread.join(60)
        was_written = (folder / "report" / "report.json").exists()
    thread.join()
    assert was_written


@pytest.mark.parametrize("name", ["sweep.json", "probe.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"data": {}}', "null", '[{"block": 1}]', "\xff"])
def test_files_that_cannot_be_read_are_named_with_the_remedy(folder, name, content):
    if (name, content) == ("probe.json", "[]"):
        return  # a probe of nothing
    (folder / name).write_bytes(content.encode("latin-1"))
    told = f"{name} can't be read .*: restore it, or remove it and start the sweep again"
    with pytest.raises(ConfigError, match=told):
        read_sweep(folder)


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_report_of_the_base_that_cannot_be_read_is_to_be_removed(folder, content):
    (folder / "base" / "far" / "report.json").write_bytes(content.encode("latin-1"))
    told = "report.json is not a saved report.*: remove it and start the sweep again"
    with pytest.raises(ConfigError, match=told):
        read_sweep(folder)


def test_two_learning_rates_with_nothing_to_choose_between_them_by_are_refused(folder):
    append_result(folder, result("mlp", "1", 0.5, rate=0.5))
    with pytest.raises(
        ConfigError, match=r"mlp@1 .* learning rates 0.001 and 0.5 in .*sweep, with"
    ):
        read_sweep(folder)


def test_without_finished_cells_it_says_what_failed(folder):
    (folder / "results.jsonl").unlink()
    failed = replace(result("mlp", "1", 0.5), measures=None, failed="loss is nan")
    append_result(folder, failed)
    told = "no cells yet\nmlp@1-rank16-lr0.001-seed0 failed: loss is nan"
    assert str(write_report(folder)) == told
    assert not (folder / "report" / "report.json").exists()


def test_in_a_notebook_it_shows_cells_and_maps_and_runs_nothing(tmp_path):
    found = swept(tmp_path, failed={"mlp@9": "<script>run()</script>"})
    shown = found._repr_html_()
    assert shown.count("<tr>") == 1 + 1 + len(found.chosen)
    assert "mlp@9 failed: &lt;script&gt;run()&lt;/script&gt;" in shown
    assert "<script" not in shown
    assert shown.count("data:image/png;base64,") == 1
    assert swept(tmp_path, found=[])._repr_html_().count("<table>") == 0
