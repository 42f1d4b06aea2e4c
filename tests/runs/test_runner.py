"""A run from its start to its end, however often it is killed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from distmatch.data import output_control
from distmatch.errors import ConfigError, DataError, LoadError
from distmatch.evals import Metric, Report
from distmatch.evals.items import Items
from distmatch.evals.suites import SUITES, OwnExamples
from distmatch.files import alone_in
from distmatch.measuring.metrics import METRICS
from distmatch.models.choice import ModelChoice
from distmatch.models.lora import lora
from distmatch.runs import RunOutcome, perform
from distmatch.runs.page import run_page
from tests.runs.small import GROUPED, TEST, TRAIN, Grouped, small_run

ADAPTER = "adapter_model.safetensors"
REPORTS = [f"{when}/{name}" for when in ("before", "after") for name in ("examples", "grouped")]
FIGURES = ["calibration.png", "grouped.png", "learning_curve.png"]


def silent(line: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def told(saved_model, tmp_path_factory) -> tuple[Path, RunOutcome, list[str]]:
    """The folder of a finished run, what came of it and what it said."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    lines: list[str] = []
    run = small_run(saved_model, folder, notes={"note.txt": "first"}, origin="tests")
    return folder, perform(run, tell=lines.append), lines


@pytest.fixture(scope="module")
def finished(told) -> Path:
    """That folder alone."""
    return told[0]


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())["suites"]


def content(folder: Path) -> dict[str, bytes]:
    """All that a killed run has to have in common with one that wasn't, byte by byte."""
    reports = [f"{name}/report.json" for name in REPORTS]
    files = [ADAPTER, "README.md", "history.json", *reports, *FIGURES]
    return {name: (folder / name).read_bytes() for name in files}


def test_it_leaves_adapter_reports_figures_metrics_and_what_it_was_told(finished):
    for name in [ADAPTER, "run.json", "history.json", *FIGURES]:
        assert (finished / name).stat().st_size > 0, name
    assert (finished / "note.txt").read_text() == "first"
    told = json.loads((finished / "metrics.json").read_text())
    assert set(told) == {"suites", "trained_on", "seconds", "peak_rss_gb"}
    assert told["seconds"] > 0
    assert 0.05 < told["peak_rss_gb"] < 1000
    assert list(told["suites"]) == ["examples", "grouped"]
    own = told["suites"]["examples"]
    assert own["num_items"] == 5
    assert list(own["before"]) == list(own["after"]) == list(METRICS)
    assert own["after"]["forward_kl"]["mean"] < own["before"]["forward_kl"]["mean"]


def test_the_outcome_holds_both_reports_of_every_suite_and_the_history(told):
    folder, outcome, _ = told
    assert list(outcome.before) == list(outcome.after) == ["examples", "grouped"]
    assert outcome.after["grouped"].groups().keys() == {"g0", "g1"}
    assert [line["step"] for line in outcome.history if "loss" in line] == [1, 2, 3, 4]
    again = RunOutcome.load(folder)
    assert again.tables() == outcome.tables()
    assert outcome.tables().startswith("examples\nmetric       before ")


def test_the_page_says_of_whom_on_what_and_how_much_of_the_test_was_trained_on(told):
    page = run_page(told[1])
    assert "taught to give words the probabilities asked for, by LoRA on" in page.sentence
    left = (told[0] / "report.html").read_text()
    assert page.notes[0].partition(";")[0] in left, "the run itself says so, too"
    trained, settings, brackets, missing = page.notes
    assert "loss forward_kl, learning_rate 0.01" in settings and "max_steps" in settings
    assert trained.startswith("Trained on 16 rows of 2 words a prompt, from tests.")
    assert "Measured on 5 examples; 0 of them have a prompt that was trained on" in trained
    assert brackets.startswith("In brackets 95% intervals") and "renormalised" in brackets
    assert missing.startswith("What it costs elsewhere: not measured")


def test_the_page_of_a_run_that_no_words_were_asked_of_says_no_more_than_that_it_was_trained(told):
    items = Items(metadata=({},), ratios={"correct": (np.ones(1), np.ones(1))})
    reports = {"knowledge": Report.of(items, (Metric("correct", "right"),), num_resamples=2)}
    page = run_page(replace(told[1], before=reports, after=reports))
    assert " was trained, by LoRA on" in page.sentence
    assert not any("control_tvd" in note for note in page.notes)


def test_the_card_says_what_was_measured_and_a_checkpoint_s_that_nothing_was(told):
    folder, outcome, _ = told
    text = (folder / "README.md").read_text()
    results = ModelCard.load(folder / "README.md").data.eval_results
    found = {(one.dataset_type, one.metric_type): one.metric_value for one in results}
    slope = outcome.after["grouped"].metrics["slope"].mean
    assert found["grouped", "slope"] == pytest.approx(slope, abs=5e-5)
    assert "16 rows of 2 words a prompt, from tests" in text
    assert str(outcome.before["examples"].metrics["tvd"]) in text
    assert "![Given against asked](calibration.png)" in text
    assert text.count("Not measured.") == 1  # elsewhere
    checkpoint = (folder / "checkpoint-2" / "README.md").read_text()
    assert checkpoint.count("Not measured.") == 3
    assert "16 rows of 2 words a prompt" in checkpoint


def test_what_happens_is_told_in_its_order(told):
    folder, _, lines = told
    assert "14 sites in blocks 0, 1: 6,528 LoRA parameters" in lines[0]
    assert lines[1:6] == [
        "before training, examples is measured",
        "before training, grouped is measured",
        "an answer to a chat ends with one of: <|im_end|>",
        "after training, examples is measured",
        "after training, grouped is measured",
    ]
    assert lines[7:] == [
        f"wrote {folder / name}" for name in [*FIGURES, "report.html", "metrics.json"]
    ]


LEFT = {
    "before its first suite": ["run.json"],
    "between two suites before": ["run.json", "before/examples"],
    "before its first checkpoint": ["run.json", "before"],
    "after its first checkpoint": ["run.json", "before", "checkpoint-2"],
    "before the adapter was saved": ["run.json", "before", "checkpoint-2", "checkpoint-4"],
    "while the adapter was saved": ["run.json", "before", "checkpoint-4", ADAPTER],
    "before the first suite after": [
        *("run.json", "before", "history.json", ADAPTER),
        *("adapter_config.json", "base.json"),
    ],
    "between two suites after": [
        *("run.json", "before", "history.json", ADAPTER),
        *("adapter_config.json", "base.json", "after/examples"),
    ],
}
"""What is in the folder of a run that was killed then."""


@pytest.mark.parametrize("when", LEFT)
def test_killed_and_resumed_it_ends_in_the_same(when, finished, saved_model, tmp_path):
    folder = tmp_path / "run"
    for name in LEFT[when]:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (finished / name).is_dir():
            shutil.copytree(finished / name, place)
        else:
            shutil.copyfile(finished / name, place)
    run = small_run(saved_model, folder, notes={"note.txt": "first"}, origin="tests")
    assert run.is_begun
    torch.randn(3)  # as another process has another state
    perform(run, resume=True, tell=silent)
    assert content(folder) == content(finished)
    assert metrics(folder) == metrics(finished)


def test_a_half_written_checkpoint_is_passed_over(finished, saved_model, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished / "before", folder / "before")
    for name in ("run.json", "checkpoint-2", "checkpoint-4"):
        copy = shutil.copytree if (finished / name).is_dir() else shutil.copyfile
        copy(finished / name, folder / name)
    (folder / "checkpoint-4" / "trainer_state.json").unlink()
    perform(small_run(saved_model, folder), resume=True, tell=silent)
    assert (folder / ADAPTER).read_bytes() == (finished / ADAPTER).read_bytes()


def test_a_suite_that_is_measured_is_not_asked_again(finished, saved_model, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "metrics.json").unlink()
    kept = folder / "before" / "examples" / "report.json"
    report = json.loads(kept.read_text())
    slope = report["ratios"]["slope"]
    slope["numerators"] = [0.125 * value for value in slope["denominators"]]
    kept.write_text(json.dumps(report))
    outcome = perform(small_run(saved_model, folder), resume=True, tell=silent)
    assert outcome.before["examples"].metrics["slope"].mean == pytest.approx(0.125)


def test_a_finished_run_is_only_shown_again(finished, saved_model):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    lines: list[str] = []
    outcome = perform(small_run(saved_model, finished), resume=True, tell=lines.append)
    assert lines == [f"{finished} is finished already", outcome.tables()]
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_run_may_measure_nothing(saved_model, tmp_path):
    outcome = perform(small_run(saved_model, tmp_path / "run", suites=()), tell=silent)
    assert outcome.after == {}
    assert metrics(tmp_path / "run") == {}


def test_it_begins_with_an_adapter_and_measures_that_first(finished, saved_model, tmp_path):
    run = small_run(saved_model, tmp_path / "run", lora=None, adapter=finished)
    outcome = perform(run, tell=silent)
    first = Report.load(finished / "after" / "examples" / "report.json")
    assert outcome.before["examples"].table() == first.table()
    assert (tmp_path / "run" / ADAPTER).read_bytes() != (finished / ADAPTER).read_bytes()


def test_upper_bounds_are_asked_of_the_base(saved_model, tmp_path):
    bounded = [
        {**row.to_record(), "other": "at_most", "rotations": []}
        for row in output_control(n=1, n_test=3, words=2)[1]
    ]
    run = small_run(saved_model, tmp_path / "run", suites=[OwnExamples(rows=bounded)])
    outcome = perform(run, tell=silent)
    assert outcome.before["examples"].metrics["tvd"].mean == pytest.approx(0, abs=1e-5)


class Drawing:
    """Draws examples at random, and counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, model, examples=TRAIN) -> list:
        self.times += 1
        return [TRAIN[i] for i in torch.randperm(len(TRAIN))[: len(examples) // 2]]


def drawing_run(model: Path, folder: Path, first: Drawing):
    return small_run(
        model,
        folder,
        told={"refresh_steps": 2},
        suites=(),
        train=first,
        refresh=lambda model, rows: Drawing()(model, [*rows, *rows]),
    )


def test_first_examples_are_drawn_from_the_model_once(saved_model, tmp_path):
    first, once, again = Drawing(), tmp_path / "once", tmp_path / "again"
    perform(drawing_run(saved_model, once, first), tell=silent)
    assert first.times == 1
    again.mkdir()
    for name in ("run.json", "drawn.jsonl"):
        shutil.copyfile(once / name, again / name)
    shutil.copytree(once / "checkpoint-2", again / "checkpoint-2")
    perform(drawing_run(saved_model, again, first), resume=True, tell=silent)
    assert first.times == 1
    assert (again / ADAPTER).read_bytes() == (once / ADAPTER).read_bytes()
    perform(drawing_run(saved_model, tmp_path / "new", Drawing()), tell=silent)
    assert (tmp_path / "new" / ADAPTER).read_bytes() == (once / ADAPTER).read_bytes()


def test_a_folder_that_holds_a_run_is_refused(finished, saved_model, tmp_path):
    with pytest.raises(ConfigError, match="holds another run: go on with it"):
        perform(small_run(saved_model, finished), tell=silent)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds checkpoints or an adapter of another run"):
        perform(small_run(saved_model, tmp_path), tell=silent)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "note.txt").write_text("of another")
    with pytest.raises(ConfigError, match=r"earlier version \(note.txt without run.json\)"):
        perform(small_run(saved_model, tmp_path / "run", notes={"note.txt": "x"}), tell=silent)


def test_resuming_nothing_is_refused(saved_model, tmp_path):
    run = small_run(saved_model, tmp_path)
    assert not run.is_begun
    with pytest.raises(ConfigError, match=r"holds no run to resume \(no run.json\)"):
        perform(run, resume=True, tell=silent)


OTHER = {
    "train.learning_rate: 0.01 there, 0.02 here": {"told": {"learning_rate": 0.02}},
    "train.seed: not set there, 3 here": {"told": {"seed": 3}},
    "lora.rank: 4 there, 8 here": {"lora": lora("all", rank=8)},
    "lora.alpha: not set there, 2 here": {"lora": lora("all", rank=4, alpha=2)},
    'data.train: "16 rows, ': {"train": TRAIN[:8]},
    'data.retention: not set there, "1 rows, ': {"retention": ["red or blue"]},
    "suites.examples.rows: ": {"suites": [OwnExamples(rows=TEST[1:]), Grouped(rows=GROUPED[:6])]},
    "suites.grouped.version: 1 there, not set here": {"suites": [OwnExamples(rows=TEST)]},
    "seed: 0 there, 1 here": {"seed": 1},
}


@pytest.mark.parametrize("difference", OTHER)
def test_resuming_a_run_that_was_told_other_things_is_refused(difference, finished, saved_model):
    run = small_run(saved_model, finished, **OTHER[difference])
    with pytest.raises(ConfigError, match="was told other things: ") as refused:
        perform(run, resume=True, tell=silent)
    assert difference in str(refused.value)


def test_what_no_result_depends_on_may_be_another(finished, saved_model):
    run = small_run(saved_model, finished, told={"disable_tqdm": False, "save_total_limit": 3})
    perform(run, resume=True, tell=silent)


def test_another_model_is_another_run(finished, saved_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "model")
    perform(small_run(tmp_path / "model", finished), resume=True, tell=silent)  # the same bytes
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ConfigError, match=r"model\.model: "):
        perform(small_run(tmp_path / "model", finished), resume=True, tell=silent)


def test_what_cannot_be_used_is_refused_before_weights_are_read(saved_model, tmp_path):
    shutil.copytree(saved_model, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"cut")
    endless = {"prompt": "Say it", "words": ["z" * 1100], "probs": [1.0]}
    long = OwnExamples(rows=[endless]).examples
    for changes, error, expected in [
        ({"train": long}, DataError, "train row 0: .*more than the model's context"),
        ({"suites": [OwnExamples(rows=long)]}, DataError, "test row 0: .*the model's context"),
        ({"suites": [Grouped(rows=long)]}, DataError, "grouped row 0: .*the model's context"),
        ({"suites": [OwnExamples(rows=[])]}, DataError, "there are no examples"),
        ({"told": {"loss": "reverse_kl"}}, ConfigError, "row 0: reverse_kl is infinite"),
        ({}, LoadError, "model.safetensors is corrupt or cut short"),
    ]:
        with pytest.raises(error, match=expected):
            perform(small_run(tmp_path / "model", tmp_path / "run", **changes), tell=silent)
    assert not (tmp_path / "run").exists()


def test_ready_suites_are_asked_too(saved_model, tmp_path):
    run = small_run(saved_model, tmp_path / "run", suites=[SUITES["suppression"]])
    outcome = perform(run, tell=silent)
    assert (tmp_path / "run" / "suppression.png").is_file()
    assert not (tmp_path / "run" / "calibration.png").exists()
    assert outcome.after["suppression"].seed == 0


def test_the_attention_is_of_the_run(saved_model, tmp_path):
    choice = ModelChoice(name=str(saved_model), attention="eager")
    perform(small_run(saved_model, tmp_path / "run", model=choice, suites=()), tell=silent)
    with pytest.raises(ConfigError, match=r'model\.attention: "eager" there, not set here'):
        perform(small_run(saved_model, tmp_path / "run", suites=()), resume=True, tell=silent)


def test_a_second_process_is_refused_before_it_loads_a_model(saved_model, tmp_path):
    run = small_run(saved_model, tmp_path / "run", model=Unloadable(name=str(saved_model)))
    with alone_in(tmp_path / "run"), pytest.raises(ConfigError, match="another process is at work"):
        perform(run, tell=silent)


class Unloadable(ModelChoice):
    """A model that may not be loaded."""

    def load(self):
        raise AssertionError("was loaded")


def test_a_full_disk_says_how_to_go_on_and_loses_nothing(
    saved_model, finished, tmp_path, monkeypatch
):
    save, saved = torch.save, []

    def full(*args, **kwargs):
        if len(saved) == 4:  # in the second checkpoint
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 0 vs 1")
        saved.append(1)
        save(*args, **kwargs)

    run = small_run(saved_model, tmp_path / "run", notes={"note.txt": "first"}, origin="tests")
    with monkeypatch.context() as disk:
        disk.setattr(torch, "save", full)
        with pytest.raises(LoadError, match=r"can't be written to .* GB free there: .*--resume"):
            perform(run, tell=silent)
    assert len(saved) == 4
    perform(run, resume=True, tell=silent)
    assert content(tmp_path / "run") == content(finished)


def test_in_a_notebook_it_shows_its_tables_and_the_calibration(told):
    _, outcome, _ = told
    shown = outcome._repr_html_()
    assert shown.count("<table>") == 2
    assert f"{outcome.after['grouped'].metrics['tvd']}</td>" in shown
    assert shown.count("data:image/png;base64,") == 1
