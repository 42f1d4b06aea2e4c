"""`distmatch sweep`, in process, on a tiny model in a directory."""

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distmatch.cli import main
from distmatch.cli.run_files import read_data_section, read_sweep_run
from distmatch.cli.sources import section_examples
from distmatch.cli.sweeping import sweep_plan
from distmatch.data import output_control, read_jsonl, write_jsonl
from distmatch.data.tasks import TASKS
from distmatch.errors import ConfigError
from distmatch.evals import Given
from distmatch.models.quantizers import save_packed
from distmatch.tables import read_tables, to_toml
from tests.cli.small import refusal, write_changed
from tests.tiny import tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[2]
CELLS = {"all@0-3", "attention@0", "attention@3", "mlp@0", "mlp@3"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model's directory."""
    folder = tmp_path_factory.mktemp("model")
    made = tiny_model("llama", max_position_embeddings=1024)
    with torch.no_grad():  # so wide as it is, no answer but one is ever probable
        for weight in made.parameters():
            weight.mul_(0.3)
    made.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def run_file(folder: Path, model_folder: Path, /, **changes) -> Path:
    """A run file with sections' keys changed; None takes the section out."""
    tables = {
        "model": {"name": str(model_folder)},
        "data": {"task": "output_control", "n": 8, "n_test": 2, "words": 2, "hold_out": []}
        | {"pool": ["red", "blue", "cat", "dog"]},  # one token each
        "transfer.three words": {"words": [3]},
        "sweep": {"blocks": ["every-3"], "rank": 2, "learning_rates": {"mlp": [5e-3]}}
        | {"num_texts": 3},
        "train": {
            "output_dir": str(folder / "run"),
            "max_steps": 2,
            "logging_steps": 1,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
            "disable_tqdm": True,
            "use_cpu": True,
        },
    }
    return write_changed(folder / "sweep.toml", tables, changes)


def of_other_data(file: Path, data: dict, **changes) -> Path:
    """The run file with another section [data] and no transfer."""
    tables = tomllib.loads(file.read_text(encoding="utf-8")) | {"data": data} | changes
    del tables["transfer"]
    file.write_text(to_toml(tables), encoding="utf-8")
    return file


def results(folder: Path) -> list[dict]:
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def swept(model, tmp_path_factory):
    """The folder of a finished sweep."""
    folder = tmp_path_factory.mktemp("swept")
    assert main(["sweep", str(run_file(folder, model))]) == 0
    return folder / "run"


def test_a_sweep_leaves_a_result_and_an_adapter_for_each_cell(swept):
    rows = results(swept)
    assert {f"{row['site']}@{row['blocks']}" for row in rows} == CELLS
    for row in rows:
        assert row["steps"] == 2
        assert list(row["metrics"]) == ["test", "three words"]
        assert row["learning_rate"] == (5e-3 if row["site"] == "mlp" else 1e-2)
        assert (swept / "cells" / row["cell"] / "adapter_model.safetensors").is_file()
    assert {path.name for path in (swept / "report").iterdir()} >= {"report.md", "cells.csv"}


def test_what_carries_over_is_asked_of_the_transfers_test_rows(swept):
    report = json.loads(
        (swept / "base" / "three words" / "report.json").read_text(encoding="utf-8")
    )
    assert len(report["examples"]) == 2
    assert {len(example["words"]) for example in report["examples"]} == {3}


def test_the_kept_settings_are_a_run_file_of_the_same_sweep(swept):
    kept = read_sweep_run(swept / "run.toml")
    assert kept.grid.blocks == ("every-3",)
    assert kept.num_texts == 3
    assert dict(kept.grid.learning_rates) == {"mlp": [5e-3]}
    assert kept.transfers["three words"]["words"] == [3]
    assert kept.transfers["three words"]["pool"] == ["red", "blue", "cat", "dog"]
    assert kept.tables == read_sweep_run(swept / "run.toml").tables
    assert read_data_section(swept / "run.toml") == kept.data


def test_suites_may_be_mapped_of_a_finished_sweep(swept, tmp_path, capsys):
    shutil.copytree(swept, tmp_path / "run")
    told = [f"train.output_dir={tmp_path / 'run'}", 'sweep.maps=["given", "shares.options"]']
    assert main(["sweep", str(swept / "run.toml"), *told, "suite.given.per_group=1"]) == 0
    out = capsys.readouterr().out
    assert "given: tvd" in out and "shares.options: " in out
    assert results(tmp_path / "run") == results(swept)
    kept = read_sweep_run(tmp_path / "run" / "run.toml")
    assert [suite.name for suite in kept.suites] == ["given", "shares.options"]
    assert kept.suites[0] == Given(per_group=1)


def test_started_again_a_sweep_only_adds_what_its_grid_has_gained(swept, tmp_path, capsys):
    shutil.copytree(swept, tmp_path / "run")
    before = (tmp_path / "run" / "results.jsonl").read_bytes()
    told = [f"train.output_dir={tmp_path / 'run'}", 'sweep.blocks=["every-3", "1"]']
    assert main(["sweep", str(swept / "run.toml"), *told]) == 0
    after = (tmp_path / "run" / "results.jsonl").read_bytes()
    assert after.startswith(before)
    new = results(tmp_path / "run")[len(CELLS) :]
    assert {f"{row['site']}@{row['blocks']}" for row in new} == {"attention@1", "mlp@1"}
    assert "7 cells of" in (out := capsys.readouterr().out)
    assert "5 of them are finished" in out
    kept = tomllib.loads((tmp_path / "run" / "run.toml").read_text(encoding="utf-8"))
    assert kept["sweep"]["blocks"] == ["every-3", "1"]


def asked(folder: Path, name: str) -> list[str]:
    """What the last message of each example of the base's report says."""
    report = json.loads((folder / "base" / name / "report.json").read_text(encoding="utf-8"))
    return [example["prompt"][-1]["content"] for example in report["examples"]]


def test_of_several_learning_rates_rows_after_the_test_rows_choose(model, tmp_path, capsys):
    grid = {"sites": ["mlp"], "blocks": ["3"], "rank": 2, "learning_rates": {"mlp": [1e-3, 1e-2]}}
    file = run_file(tmp_path, model, tuning={"n_test": 3}, sweep=grid)
    assert main(["sweep", str(file)]) == 0
    told = capsys.readouterr().out
    assert "3 cells of" in told and "* chosen: most control by tuning examples" in told
    assert "control, three words" in told and "control, tuning" not in told
    run = tmp_path / "run"
    assert {row["learning_rate"] for row in results(run) if row["site"] == "mlp"} == {1e-3, 1e-2}
    assert list(results(run)[0]["metrics"]) == ["test", "three words", "tuning"]
    _, drawn = section_examples(read_data_section(file) | {"n_test": 5})
    every = [row.prompt[-1]["content"] for row in drawn]
    assert asked(run, "test") == every[:2]
    assert asked(run, "tuning") == every[2:]
    assert read_sweep_run(run / "run.toml").tuning == read_sweep_run(file).tuning
    tuning = run / "base" / "tuning" / "report.json"
    before = tuning.stat().st_mtime_ns
    assert main(["sweep", str(run / "run.toml"), "sweep.seeds=[0, 1]"]) == 0
    assert tuning.stat().st_mtime_ns == before and len(results(run)) == 6


def test_rows_that_are_drawn_twice_choose_no_learning_rate(model, tmp_path):
    few = {"task": "numbers", "kinds": ["die"], "n": 8, "n_test": 3}
    file = of_other_data(run_file(tmp_path, model), few, tuning={"n_test": 20})
    plan = sweep_plan(read_sweep_run(file))
    known = [row.prompt for row in (*plan.train, *plan.sets.learned)]
    assert len(plan.sets.tuning) == 20
    assert not [row for row in plan.sets.tuning if row.prompt in known]


def test_training_rows_choose_no_learning_rate(model, tmp_path):
    few = {"n": 150, "n_test": 3, "wordings": ["bare"], "pool": ["red", "blue"]}
    changes = {"data": few, "tuning": {"n_test": 9}, "transfer.three words": {"words": [2]}}
    run = read_sweep_run(run_file(tmp_path, model, **changes))
    plan = sweep_plan(run)
    known, tuning = [row.prompt for row in plan.train], plan.sets.tuning
    _, drawn = section_examples(run.data | {"n_test": 12})
    assert [row for row in drawn if row.prompt in known]  # so some had to be left out
    assert len(tuning) == 9
    assert not [row for row in tuning if row.prompt in known]


def test_more_rows_to_choose_by_than_there_are_prompts_are_refused(weightless, tmp_path, capsys):
    few = {"task": "numbers", "kinds": ["die"], "n": 100, "n_test": 100}
    file = of_other_data(run_file(tmp_path, weightless), few, tuning={"n_test": 20})
    told = refusal(capsys, "sweep", file)
    assert "tuning.n_test is 20, but of 260 rows drawn for it only " in told
    assert "have prompts that aren't in [data] or a transfer: ask for fewer" in told


def test_rows_of_a_transfer_choose_no_learning_rate(model, tmp_path):
    same = {"transfer.three words": {"words": [2], "n_test": 9}}
    run = read_sweep_run(run_file(tmp_path, model, tuning={"n_test": 3}, **same))
    sets = sweep_plan(run).sets
    known = [row.prompt for row in sets.transfer["three words"]]
    assert len(known) == 9 and len(sets.tuning) == 3
    assert not [row for row in sets.tuning if row.prompt in known]


@pytest.mark.parametrize(
    "name", ["layer_sweep.toml", "layer_sweep_broad.toml", "layer_sweep_gptoss.toml"]
)
def test_the_kept_settings_of_an_example_are_a_run_file_of_the_same_grid(name, tmp_path):
    run = read_sweep_run(ROOT / "examples" / name)
    run.save(tmp_path / "run.toml")
    assert read_sweep_run(tmp_path / "run.toml").tables == run.tables
    rates = {site: list(some) for site, some in run.grid.learning_rates.items()}
    kept = read_sweep_run(tmp_path / "run.toml").grid.learning_rates
    assert {site: list(some) for site, some in kept.items()} == rates


def test_files_to_choose_learning_rates_by_are_read_whole(weightless, tmp_path, capsys):
    line = '{"prompt": "Say %s red 0.7 blue 0.3:", "words": ["red", "blue"], "probs": [0.7, 0.3]}\n'
    for name in ("train", "test", "tuning"):
        (tmp_path / name).write_text("".join(line % f"{name} {number}" for number in range(3)))
    data = {name: str(tmp_path / name) for name in ("train", "test")}
    file = run_file(tmp_path, weightless)
    own = of_other_data(file, data, tuning={"test": str(tmp_path / "tuning")})
    sets = sweep_plan(read_sweep_run(own)).sets
    assert [row.prompt.split()[1:3] for row in sets.tuning] == [["tuning", n] for n in "012"]
    same = of_other_data(run_file(tmp_path, weightless), data, tuning={})
    assert 'example 1 of tuning_dataset ([tuning] in a run file) is in "test" too' in refusal(
        capsys, "sweep", same
    )


def test_other_settings_are_refused_and_nothing_is_changed(swept, capsys):
    kept = (swept / "run.toml").read_text(encoding="utf-8")
    told = refusal(capsys, "sweep", swept / "run.toml", "train.max_steps=3", "data.n=12")
    assert f"{swept} holds a sweep of other settings (train.max_steps: 2 there, 3 here" in told
    assert "data.train" in told
    assert (swept / "run.toml").read_text(encoding="utf-8") == kept


def test_the_report_needs_no_model(swept, tmp_path, capsys):
    shutil.copytree(swept, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "report")
    with (tmp_path / "run" / "results.jsonl").open("ab") as file:
        file.write(b'{"cut\n')
    assert main(["sweep", "--report", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    first, second = (
        json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
        for folder in (swept, tmp_path / "run")
    )
    (line,) = second.pop("passed_over")
    assert "results.jsonl:6 is not a result" in line
    assert first.pop("passed_over") == [] and first == second
    assert "control, three words" in told
    assert "results.jsonl:6 is not a result called as its cell, and is passed over" in told


def test_a_report_of_no_sweep_is_refused(tmp_path, capsys):
    assert "holds no sweep (no sweep.json)" in refusal(capsys, "sweep", "--report", tmp_path)
    assert "give either a run file, or --report DIR" in refusal(capsys, "sweep")
    assert "give either" in refusal(capsys, "sweep", tmp_path / "sweep.toml", "--report", tmp_path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sweep.site=mlp", 'unknown key of [sweep] "site"; known: '),
        ("sweep.sites=mlp", 'sweep.sites is "mlp", expected a list of strings'),
        ('sweep.sites=["mpl"]', 'Did you mean "mlp"?'),
        ("sweep.sites=[]", "the grid is empty: sites names nothing"),
        ('sweep.blocks=["7"]', "blocks [7] do not exist: this LlamaForCausalLM has 4"),
        ('sweep.blocks=["every-0"]', 'the blocks "every-0" have no step'),
        ('sweep.blocks=["7-3"]', 'the blocks "7-3" run backwards: write 3-7'),
        ('sweep.sites=["mlp", "router"]', '"router" matched nothing'),
        ("sweep.seeds=[0.5]", "sweep.seeds is [0.5], expected a list of whole numbers"),
        ("sweep.learning_rates={mlp='x'}", "expected a table of lists of numbers"),
        ("sweep.learning_rates={mlp=0.1}", "expected a table of lists of numbers"),
        ("sweep.learning_rates={mlp=[]}", "the learning rates of mlp are []: give a list"),
        ("sweep.learning_rates={mlp=[-1]}", "a learning rate of mlp is -1"),
        ("sweep.learning_rates={mpl=[0.1]}", 'Did you mean "mlp"?'),
        (
            "sweep.learning_rates={mlp=[0.1, 0.2]}",
            "mlp@0 of rank 2 would have the learning rates 0.1 and 0.2 in ",
        ),
        ("sweep.num_texts=0", "num_texts is 0, expected 1 or more"),
        ('sweep.maps=["gven"]', 'unknown suite "gven"'),
        ("sweep.maps=given", 'sweep.maps is "given", expected a list of strings'),
        ("suite.given.per_group=1", "no suite is named"),
        ("tuning.word=[3]", 'unknown key of [tuning] "word"'),
        ("tuning.n_test=0", "tuning.n_test is 0, expected at least 1"),
        ("transfer.tuning.words=[3]", 'the transfer "tuning" can\'t be called so'),
        ("lora.rank=4", 'unknown section "lora"'),
        ("train.seed=4", "train.seed is each cell's own: give sweep.seeds"),
        ("train.save_strategy=steps", "train.save_strategy has no use"),
        ("train.loss=reverse_kll", 'Did you mean "reverse_kl"?'),
        ("transfer.x.word=[3]", 'unknown key of [transfer.x] "word"'),
        ("transfer.x.words=3.5", "transfer.x.words is 3.5, expected a whole number or a list"),
        ("transfer.x.pool=[]", "pool"),
        ("transfer.test.words=[3]", 'the transfer "test" can\'t be called so'),
        ("transfer.a/b.words=[3]", 'the transfer "a/b" can\'t be called so'),
        ("transfer.x.task=outpt_control", 'Did you mean "output_control"?'),
        ("transfer.x.n_test=0", "n_test is 0"),
        ("data.test=rows.jsonl", "[data] has both a task and test"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_weights_are_read(
    override, expected, weightless, tmp_path, capsys
):
    assert expected in refusal(capsys, "sweep", run_file(tmp_path, weightless), override)
    assert not (tmp_path / "run").exists()


def test_rows_that_cannot_be_encoded_are_refused_by_name(weightless, tmp_path, capsys):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "Say red:", "words": ["red", ""], "probs": [0.5, 0.5]}\n')
    file = of_other_data(run_file(tmp_path, weightless), {"train": str(bad), "test": str(bad)})
    assert "bad.jsonl:1: " in refusal(capsys, "sweep", file)


def test_weights_that_cannot_be_read_are_refused_last(weightless, tmp_path, capsys):
    told = refusal(capsys, "sweep", run_file(tmp_path, weightless))
    assert "model.safetensors is corrupt or cut short" in told
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_another_run_is_refused(weightless, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.toml").write_text("[lora]\ntarget = 'all'\n")
    told = refusal(capsys, "sweep", run_file(tmp_path, weightless))
    assert "run holds another run: choose another train.output_dir" in told
    (tmp_path / "run" / "run.toml").unlink()
    (tmp_path / "run" / "adapter_config.json").write_text("{}")
    told = refusal(capsys, "sweep", run_file(tmp_path, weightless))
    assert "run holds checkpoints or an adapter of another run" in told


def test_a_transfer_to_another_task_keeps_only_the_numbers_of_rows_and_the_seed(model, tmp_path):
    file = run_file(tmp_path, model, **{"transfer.dice": {"task": "numbers", "kinds": ["die"]}})
    dice = read_sweep_run(file).transfers["dice"]
    assert (dice["task"], dice["n"], dice["n_test"], dice["seed"]) == ("numbers", 8, 2, 0)
    assert "pool" not in dice and "numbers" in TASKS


def test_a_file_of_test_rows_takes_the_place_of_a_task(model, tmp_path):
    rows = tmp_path / "rows.jsonl"
    write_jsonl(rows, output_control(1, n_test=3, seed=5)[1])
    of_files = {"transfer.mine": {"test": str(rows)}, "tuning": {"test": str(rows)}}
    run = read_sweep_run(run_file(tmp_path, model, **of_files))
    assert run.transfers["mine"] == run.tuning == {"test": str(rows)}
    with pytest.raises(ConfigError, match='in "mine" too'):  # as it should be of the same rows
        sweep_plan(run)
    (plan,) = [sweep_plan(replace(run, tuning=None))]
    assert plan.sets.transfer["mine"] == read_jsonl(rows)


def test_a_transfer_with_a_task_takes_the_place_of_files(model, tmp_path):
    files = {"train": "train.jsonl", "test": "test.jsonl"}
    dice = {"transfer.dice": {"task": "numbers", "n_test": 3}}
    run = read_sweep_run(of_other_data(run_file(tmp_path, model), files, **dice))
    assert (run.data, run.transfers["dice"]["n_test"]) == (files, 3)
    assert not set(run.transfers["dice"]) & set(files)


def test_a_transfer_has_a_task_or_files(model, tmp_path, capsys):
    both = {"transfer.x": {"task": "numbers", "test": "test.jsonl"}}
    told = refusal(capsys, "sweep", run_file(tmp_path, model, **both))
    assert "[transfer.x] has both a task and test: leave one out" in told
    none = {"transfer.x": {"train": "train.jsonl"}}
    told = refusal(capsys, "sweep", run_file(tmp_path, model, **none))
    assert (
        '[transfer.x] has neither a task nor test: give task = "output_control", or test =' in told
    )


def test_sections_inside_others_come_back_from_what_is_written(tmp_path):
    tables = {"data": {"n": 1}, "transfer.three words": {"words": [3]}, "transfer.x": {"n": 2}}
    (tmp_path / "file.toml").write_text(to_toml(tables))
    assert '[transfer."three words"]' in to_toml(tables)
    assert read_tables(tmp_path / "file.toml", ("data", "transfer.*")) == tables


# examples/ ----------------------------------------------------------------------------------------


def test_the_example_is_every_third_block_of_the_embedded_model_at_two_rates_with_two_seeds():
    run = read_sweep_run(ROOT / "examples" / "layer_sweep.toml")
    cells = sweep_plan(run).cells
    assert len(cells) == 2 * 2 * (10 * 2 + 1)
    assert run.tuning is not None and run.tuning["n_test"] == 50
    assert {cell.lowest for cell in cells} == set(range(0, 30, 3))
    assert list(run.transfers) == ["three words", "other wordings"]
    assert run.transfers["three words"]["words"] == [3]
    other = set(run.transfers["other wordings"]["wordings"])
    assert other and not other & set(run.data["wordings"])
    needed = run.config.max_steps * run.config.per_device_train_batch_size
    assert run.data["n"] >= needed


def test_the_sweep_of_the_broad_recipe_is_measured_where_it_is_trained_and_where_not():
    run = read_sweep_run(ROOT / "examples" / "layer_sweep_broad.toml")
    plan = sweep_plan(run)
    assert {cell.lowest for cell in plan.cells} == {0, 6, 12, 18, 24}
    branches = {
        name: {row.metadata["branch"] for row in rows} for name, rows in plan.sets.named().items()
    }
    learned, held_out = branches["test"], branches["held out"]
    assert learned and held_out and not learned & held_out
    assert not branches["tuning"] & (learned | held_out)
    assert run.config.train_sampling_strategy == "sequential"


def test_the_recipe_for_gpt_oss_sweeps_a_small_one_of_its_kind(tmp_path):
    sizes = {"hidden_size": 64, "intermediate_size": 64, "max_position_embeddings": 1024}
    save_packed(tiny_model("gpt_oss", num_hidden_layers=2, **sizes), tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    file = ROOT / "examples" / "layer_sweep_gptoss.toml"
    small = [
        f"model.name={tmp_path / 'model'}",
        'data.pool=["red", "blue", "cat", "dog"]',
        *("data.hold_out=[]", "data.n=8", "data.n_test=2", 'data.wordings=["ahead"]'),
        *("transfer.three words.n_test=2", "transfer.other wordings.n_test=2", "tuning.n_test=2"),
        *('sweep.blocks=["1"]', "sweep.seeds=[0]", "sweep.rank=2", "sweep.num_texts=2"),
        "sweep.learning_rates={router=[1e-3, 3e-3]}",
        *("train.max_steps=2", "train.warmup_steps=0", f"train.output_dir={tmp_path / 'run'}"),
        *("train.disable_tqdm=true", "train.use_cpu=true"),
    ]
    assert main(["sweep", str(file), *small]) == 0
    found = results(tmp_path / "run")
    assert {row["site"] for row in found} == {"all", "attention", "experts", "router"}
    assert all(row["parameters"] > 0 and "metrics" in row for row in found)
