"""A whole sweep of a tiny model: what it leaves, and how it survives."""

import gc
import hashlib
import importlib
import json
import shutil
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial

import peft
import pytest
import torch
from accelerate import PartialState
from safetensors import SafetensorError

from distmatch.data import Example, WordDistribution
from distmatch.data.batching import make_batch
from distmatch.errors import ConfigError, LoadError, TargetingError
from distmatch.evals import evaluate
from distmatch.models import trunk as trunk_module
from distmatch.models.adapters import load_adapter
from distmatch.models.lora import lora
from distmatch.models.trunk import Tree, Trunk
from distmatch.scoring import model_encoder
from distmatch.sweeps import Grid
from distmatch.sweeps import sweep as sweep_function
from distmatch.sweeps.records import claimed
from distmatch.trainer import DistributionConfig, DistributionTrainer
from tests.sweeps.small import (
    GRID,
    NAMES,
    adapters,
    claims,
    examples,
    measured,
    rows,
    settings,
    small_sweep,
)
from tests.tiny import tiny_model, tiny_tokenizer

MODULE = importlib.import_module("distmatch.sweeps.sweep")  # there's a function of that name
RUNNER = importlib.import_module("distmatch.sweeps.runner")
evaluate_as_the_runner = RUNNER._measured
ONE = Grid(sites=("mlp",), blocks=("3",), rank=2)
ONE_WORD = [Example(prompt="Say red:", target=WordDistribution(("red",), (0.5,), 0.5))]
ONE_NAMES = ["all@0-3-rank2-seed0", "mlp@3-rank2-seed0"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(MODULE, "_TEXTS", 3)
    gc.freeze()  # accelerate collects garbage a cell, which here is that of the whole test run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder and what came of it."""
    gc.freeze()
    folder = tmp_path_factory.mktemp("finished") / "sweep"
    with pytest.MonkeyPatch.context() as few:
        few.setattr(MODULE, "_TEXTS", 3)
        found = small_sweep(folder)
    return folder, found


@pytest.fixture
def folder(finished, tmp_path):
    """A copy to go on with."""
    return shutil.copytree(finished[0], tmp_path / "sweep")


def remove_line(folder, name):
    lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    (folder / "results.jsonl").write_text("".join(x for x in lines if f'"{name}"' not in x))


def test_every_cell_has_its_line_and_its_adapter(finished):
    folder, found = finished
    assert list(rows(folder)) == NAMES
    assert set(adapters(folder)) == set(NAMES)
    assert {path.name for path in folder.iterdir()} == {
        *("sweep.json", "results.jsonl", "probe.json", "lock"),
        *("base", "cells", "claims", "report"),
    }
    assert claims(folder) == []
    assert {f.name for f in found.findings} == {name.partition("-rank")[0] for name in NAMES}
    assert (found.failed, found.elsewhere) == ({}, ())


def test_a_line_says_what_it_was_made_with(finished):
    folder, _ = finished
    there = json.loads((folder / "sweep.json").read_text())
    hashes = set()
    for cell in GRID.cells(tiny_model("llama"), 1e-2):
        row = rows(folder)[cell.name]
        both = json.dumps([there, asdict(cell)], sort_keys=True)
        assert row["config_hash"] == hashlib.sha256(both.encode()).hexdigest()
        assert row["versions"]["torch"] == torch.__version__
        assert row["versions"]["peft"] == peft.__version__
        assert set(row["versions"]) == {"distmatch", "torch", "transformers", "peft"}
        assert row["device"].startswith("CPU, ")
        assert {name: row[name] for name in asdict(cell)} == asdict(cell)
        assert row["steps"] == 3
        assert 0 < row["train_seconds"] < row["seconds"]
        assert row["peak_memory_gb"] > 0.01
        hashes.add(row["config_hash"])
    assert len(hashes) == len(NAMES)


def test_lower_cells_take_more_flops(finished):
    flops = {name.partition("@")[2][:3]: row["flops"] for name, row in rows(finished[0]).items()}
    assert flops["0-3"] > flops["1-r"] > 1.5 * flops["3-r"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_those_of_the_saved_adapter_on_the_whole_model(finished, name):
    folder, _ = finished
    model = load_adapter(tiny_model("llama"), folder / "cells" / name)
    for test, asked in (("main", examples(4)), ("far", examples(3, say="Write"))):
        report = evaluate(model, tiny_tokenizer(), asked, progress=False)
        for metric, value in report.metrics.items():
            ours = rows(folder)[name]["metrics"][test][metric]["mean"]
            assert ours == pytest.approx(value.mean, rel=1e-4, abs=1e-6), metric


@torch.no_grad()
def test_collateral_is_the_divergence_on_ordinary_texts(finished):
    folder, _ = finished
    from distmatch.data.ordinary import ordinary_texts

    texts = [text for kind in ordinary_texts().values() for text in kind]
    base = tiny_model("llama")
    spread = [texts[k * len(texts) // 3] for k in range(3)]
    ids = model_encoder(base, tiny_tokenizer()).encode_texts(spread)
    plain = [base(torch.tensor([text])).logits[0, :-1].log_softmax(-1) for text in ids]
    model = load_adapter(tiny_model("llama"), folder / "cells" / NAMES[0])
    ours = [model(torch.tensor([text])).logits[0, :-1].log_softmax(-1) for text in ids]
    kl = torch.cat([(p.exp() * (p - q)).sum(-1) for p, q in zip(plain, ours, strict=True)])
    assert rows(folder)[NAMES[0]]["kl"] == pytest.approx(float(kl.mean()), rel=1e-3)


@pytest.mark.parametrize("name", ["all@0-3-rank2-seed0", "mlp@3-rank2-seed0"])
def test_the_adapter_is_that_of_a_plain_run_with_its_seed(finished, tmp_path, name):
    folder, _ = finished
    run = plain_trainer(tmp_path, "llama", name.partition("-rank")[0], max_steps=3)
    run.train()
    run.save_model()
    ours, theirs = (
        load_adapter(tiny_model("llama"), path) for path in (folder / "cells" / name, tmp_path)
    )
    for (key, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm(), key


def plain_trainer(folder, family, target, seed=0, **given):
    return DistributionTrainer(
        model=tiny_model(family),
        args=settings(folder, seed=seed, **given),
        processing_class=tiny_tokenizer(),
        train_dataset=examples(),
        peft_config=lora(target, rank=2),
    )


def trunk_of(run, block):
    batches = [make_batch([trie], run.encoder) for trie in run.train_tries]
    trees = [Tree(batch.ids, batch.depths, batch.ends) for batch in batches]
    trunk = Trunk(run.adapted, trees, progress=False)
    trunk.raise_to(block)
    return trunk


def losses(run):
    return [line["loss"] for line in run.state.log_history if "loss" in line]


TARGETS = [("llama", "mlp@2"), ("gpt_oss", "experts@2"), ("gemma3", "attention@2-3")]


@pytest.mark.parametrize(("family", "target"), TARGETS)
def test_the_first_20_losses_are_those_of_whole_forwards(tmp_path, family, target):
    given = {"max_steps": 20, "learning_rate": 1e-3, "per_device_train_batch_size": 2}
    plain = plain_trainer(tmp_path / "plain", family, target, **given)
    plain.train()
    ours = plain_trainer(tmp_path / "ours", family, target, **given)
    with trunk_of(ours, 2).installed():
        ours.train()
    assert len(losses(ours)) == 20
    assert losses(ours) == pytest.approx(losses(plain), rel=1e-4)


@pytest.mark.parametrize(("family", "target"), TARGETS)
def test_the_first_gradients_are_those_of_whole_forwards(tmp_path, family, target):
    def gradients(run):
        run.compute_loss(run.adapted, {"rows": torch.arange(8)}).backward()
        return {n: p.grad for n, p in run.adapted.named_parameters() if p.grad is not None}

    whole = gradients(plain_trainer(tmp_path, family, target))
    ours = plain_trainer(tmp_path, family, target)
    with trunk_of(ours, 2).installed():
        for name, gradient in gradients(ours).items():
            assert (gradient - whole[name]).norm() <= 1e-5 * whole[name].norm(), name


@pytest.mark.parametrize("bf16", [False, True])
def test_training_runs_no_block_below_its_own(tmp_path, bf16):
    model, calls = tiny_model("llama"), []
    model.model.layers[0].post_attention_layernorm.register_forward_hook(
        lambda *_: calls.append(torch.is_grad_enabled())
    )
    small_sweep(tmp_path, model, grid=ONE, bf16=bf16, train=examples(4))
    assert sum(calls) == 4 + 4  # of the cell of all blocks, one to count its FLOPs; and the probe


def test_states_too_large_for_memory_change_nothing_and_leave_nothing(
    folder, finished, monkeypatch
):
    remove_line(folder, NAMES[-1])
    files = []

    def small_trunk(*args, **given):
        files.append(given["folder"] / "states-3.safetensors")
        return Trunk(*args, most_bytes=10, **given)

    monkeypatch.setattr(RUNNER, "Trunk", small_trunk)
    monkeypatch.setattr(RUNNER, "_measured", lambda *_: seen.append(files[0].exists()) or real(*_))
    seen, real = [], evaluate_as_the_runner
    small_sweep(folder)
    assert seen == [True, True]
    assert list(folder.glob("states*")) == []
    assert measured(folder) == measured(finished[0])


def times(folder):
    return {
        path: path.stat().st_mtime_ns
        for name in ("cells", "base")
        for path in (folder / name).rglob("*")
    } | {folder / "probe.json": (folder / "probe.json").stat().st_mtime_ns}


def test_finished_cells_are_not_repeated(folder, finished):
    before, lines = times(folder), (folder / "results.jsonl").read_bytes()
    model, calls = tiny_model("llama"), []
    model.model.embed_tokens.register_forward_hook(lambda *_: calls.append(1))
    found = small_sweep(folder, model)
    assert times(folder) == before
    assert (folder / "results.jsonl").read_bytes() == lines
    assert calls == []
    assert [f.name for f in found.findings] == [f.name for f in finished[1].findings]


def test_a_lost_cell_is_done_again_to_the_bit(folder, finished):
    remove_line(folder, NAMES[2])
    assert NAMES[2] not in rows(folder)  # its adapter is left, as of a kill before its line
    small_sweep(folder)
    assert measured(folder) == measured(finished[0])
    assert adapters(folder) == adapters(finished[0])


def test_a_corrupt_line_is_reported_and_its_cell_done_again(folder, finished, capsys):
    path = folder / "results.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-200])  # the last line, cut short
    small_sweep(folder)
    assert f"{path}:5 is not a result" in capsys.readouterr().out
    assert path.read_bytes().startswith(content[:-200] + b"\n{")
    last = path.read_text().splitlines()[-1]
    assert json.loads(last)["metrics"] == rows(finished[0])[NAMES[-1]]["metrics"]


def test_a_grid_may_grow(folder, finished):
    found = small_sweep(folder, grid=replace(GRID, blocks=("1", "3", "2"), sites=("mlp",)))
    assert list(rows(folder)) == [*NAMES, "mlp@2-rank2-seed0"]
    assert measured(folder).items() >= measured(finished[0]).items()
    assert len(found.findings) == 6


def test_seeds_differ_and_share_a_finding(tmp_path):
    found = small_sweep(tmp_path, grid=replace(ONE, seeds=(0, 1)))
    first, second = (rows(tmp_path)[f"mlp@3-rank2-seed{seed}"]["metrics"] for seed in (0, 1))
    assert first != second
    assert {(f.name, f.num_seeds) for f in found.findings} == {("all@0-3", 2), ("mlp@3", 2)}
    assert all(f.control.low < f.control.mean < f.control.high for f in found.findings)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"max_steps": 4}, "train.max_steps: 3 there, 4 now"),
        ({"loss": "jensen_shannon"}, "train.loss: None there, 'jensen_shannon' now"),
        ({"train": examples(5)}, "data.train: .* there, .* now"),
        ({"tests": {"main": examples(4)}}, "data.test far: .* there, None now"),
        (
            {"tests": {"far": examples(3, say="Write"), "main": examples(4)}},
            r"data.tests: \['main', 'far'\] there, \['far', 'main'\] now",
        ),
        ({"model": tiny_model("llama").bfloat16()}, "base.dtype: 'torch.float32' there"),
        ({"model": tiny_model("llama", attn_implementation="eager")}, "base.attention: 'sdpa'"),
        ({"model": tiny_model("llama", seed=1)}, "base.weights: .* there, .* now"),
        ({"model": tiny_model("llama", rms_norm_eps=0.1)}, "base.config.rms_norm_eps: 1e-06 there"),
        ({"learning_rate": 0.5}, r"mlp@3-rank2-seed0.learning_rate: 0.01 there, 0.5 now"),
        (
            {"grid": replace(GRID, learning_rates={"mlp": 0.5})},
            r"other settings \(mlp@1-rank2-seed0.learning_rate: 0.01 there, 0.5 now",
        ),
    ],
)
def test_changed_settings_are_refused_with_the_difference(finished, changed, difference):
    folder, _ = finished
    before = times(folder)
    with pytest.raises(ConfigError, match=difference):
        small_sweep(folder, **changed)
    assert times(folder) == before


def test_settings_that_change_no_result_may_change(folder):
    small_sweep(folder, logging_steps=2, per_device_eval_batch_size=3, seed=5)
    assert list(rows(folder)) == NAMES


def test_settings_that_cannot_be_read_are_refused(folder):
    (folder / "sweep.json").write_text("{")
    with pytest.raises(ConfigError, match=r"sweep.json can't be read"):
        small_sweep(folder)


def test_a_report_of_the_base_that_cannot_be_read_is_refused_before_any_cell(folder):
    remove_line(folder, NAMES[2])
    path = next((folder / "base").glob("*.json"))
    path.write_text("{")
    with pytest.raises(ConfigError, match=f"{path.name} is not a saved report.*: remove it"):
        small_sweep(folder)
    assert NAMES[2] not in rows(folder)
    path.unlink()
    small_sweep(folder)
    assert list(rows(folder))[-1] == NAMES[2]


def test_a_loss_of_the_users_own_is_known_again(tmp_path):
    def squared(log_probs, target, power):
        return (log_probs.exp() - target).pow(power).sum(-1)

    small_sweep(tmp_path, grid=ONE, loss=partial(squared, power=2))
    told = json.loads((tmp_path / "sweep.json").read_text())["train"]["loss"]
    assert told[0].endswith("known_again.<locals>.squared")
    assert told[1:] == [[], {"power": 2}]
    small_sweep(tmp_path, grid=ONE, loss=partial(squared, power=2))
    with pytest.raises(ConfigError, match=r"train\.loss"):
        small_sweep(tmp_path, grid=ONE, loss=partial(squared, power=4))


@pytest.mark.parametrize("max_steps", [1, 3])
def test_a_cell_that_diverges_has_failed_and_the_others_go_on(tmp_path, max_steps):
    grid = Grid(sites=("o", "mlp"), blocks=("3",), rank=2, learning_rates={"o": 1e38})
    found = small_sweep(tmp_path, grid=grid, max_steps=max_steps)
    (name,) = found.failed
    assert name == "o@3-rank2-seed0"
    assert "finite" in found.failed[name] or "forward_kl is" in found.failed[name]
    assert "lower learning_rate" in rows(tmp_path)[name]["failed"]
    assert f"{name} failed: " in found.report
    assert {f.name for f in found.findings} == {"all@0-3", "mlp@3"}
    before = (tmp_path / "results.jsonl").read_bytes()
    small_sweep(tmp_path, grid=grid, max_steps=max_steps)
    assert (tmp_path / "results.jsonl").read_bytes() == before
    lower = replace(grid, learning_rates={"o": 1e-3})  # as the reason says
    assert small_sweep(tmp_path, grid=lower, max_steps=max_steps).failed == {}


def test_a_loss_that_is_not_a_number_fails_every_cell(tmp_path):
    calls = []

    def sometimes(log_probs, target):
        calls.append(1)
        return log_probs.sum(-1) * (float("nan") if log_probs.requires_grad else 1.0)

    found = small_sweep(tmp_path, grid=ONE, loss=sometimes)
    assert list(found.failed) == ONE_NAMES
    assert found.findings == []
    assert "no cells yet" in found.report
    assert "sometimes is nan by step 1: lower learning_rate" in found.report


def anatomy(model):
    """All of a model that isn't its weights."""
    return {
        name: (
            type(module),
            module.training,
            getattr(module, "gradient_checkpointing", None),
            "forward" in vars(module),
            *(len(hooks) for kind, hooks in vars(module).items() if kind.endswith("ward_hooks")),
        )
        for name, module in model.named_modules()
    } | {
        "learns": [(name, weight.requires_grad) for name, weight in model.named_parameters()],
        "gradients": [weight.grad is None for weight in model.parameters()],
        "configs": (model.config.to_dict(), model.generation_config.to_dict()),
    }


@pytest.mark.parametrize("family", ["llama", "gpt_oss"])
@pytest.mark.parametrize("is_training", [False, True])
def test_the_model_is_left_as_it_was(tmp_path, family, is_training):
    model = tiny_model(family).train(is_training)
    model.model.norm.eval()
    model.model.embed_tokens.requires_grad_(False)
    model.generation_config.eos_token_id = [2, 17]  # the tokenizer's is another: trainers align it
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = anatomy(model)
    grid = Grid(sites=("q", "o"), blocks=("3",), rank=2, learning_rates={"o": 1e38})
    tokenizer = tiny_tokenizer(chat=False)
    plain = [replace(row, prompt=row.prompt[0]["content"], rotations=()) for row in examples()]
    given = {"train_dataset": plain, "eval_datasets": {"main": plain}, "grid": grid}
    given["args"] = settings(tmp_path, activation_checkpointing=True)
    found = sweep_function(model, tokenizer, **given)
    assert list(found.failed) == ["o@3-rank2-seed0"]
    assert anatomy(model) == before
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert trunk_module.installed_trunk(model) is None


def test_an_error_in_a_cell_leaves_the_model_as_it_was(tmp_path):
    model = tiny_model("llama")
    before = anatomy(model)

    def broken(log_probs, target):
        if log_probs.requires_grad:
            raise ZeroDivisionError
        return log_probs.sum(-1)

    with pytest.raises(ZeroDivisionError):
        small_sweep(tmp_path, model, grid=ONE, loss=broken)
    assert anatomy(model) == before
    assert claims(tmp_path) == []


def test_a_transfer_set_may_have_no_control(tmp_path):
    found = small_sweep(tmp_path, grid=ONE, tests={"main": examples(4), "one": ONE_WORD})
    assert found.failed == {}
    assert rows(tmp_path)["mlp@3-rank2-seed0"]["metrics"]["one"]["control_tvd"]["mean"] is None


def test_what_has_no_use_in_a_sweep_is_refused(tmp_path, monkeypatch):
    for given in ({"retention_weight": 0.5}, {"refresh_steps": 2}):
        (name,) = given
        with pytest.raises(ConfigError, match=f"{name} has no use in a sweep"):
            small_sweep(tmp_path / "new", **given)
    monkeypatch.setattr(DistributionConfig, "n_gpu", 2)
    with pytest.raises(ConfigError, match="start a process for each, with CUDA_VISIBLE_DEVICES=0"):
        small_sweep(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_of_another_run_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds another run"):
        small_sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "lock"] == [
        "adapter_config.json"
    ]


def test_settings_may_change_while_there_is_no_result(folder, finished):
    (folder / "results.jsonl").unlink()
    probed = (folder / "probe.json").read_text()
    small_sweep(folder, train=examples(5), max_steps=2)
    assert {row["steps"] for row in rows(folder).values()} == {2}
    assert (folder / "probe.json").read_text() != probed


def test_settings_stay_while_a_process_is_at_work(folder):
    (folder / "results.jsonl").unlink()
    with claimed(folder, NAMES[0]), pytest.raises(ConfigError, match=r"train\.max_steps"):
        small_sweep(folder, max_steps=2)


def test_the_device_stays_the_one_of_the_run(tmp_path):
    PartialState._reset_state()
    small_sweep(tmp_path, grid=ONE)
    assert PartialState()._cpu


def test_a_cell_whose_process_is_killed_later_is_gone_back_to(folder, monkeypatch):
    remove_line(folder, NAMES[2])
    remove_line(folder, NAMES[3])
    held, run = ExitStack(), RUNNER._run
    held.enter_context(claimed(folder, NAMES[2]))

    def released(*args):  # the other process ends while this one is at its next cell
        held.close()
        return run(*args)

    monkeypatch.setattr(RUNNER, "_run", released)
    assert small_sweep(folder).elsewhere == ()
    assert list(rows(folder)) == [NAMES[0], NAMES[1], NAMES[4], NAMES[3], NAMES[2]]


def test_experts_attention_and_router_of_a_mixture(tmp_path):
    grid = Grid(sites=("experts", "router"), blocks=("2",), rank=2)
    found = small_sweep(tmp_path, tiny_model("gpt_oss"), grid=grid)
    assert {f.name for f in found.findings} == {"all@0-3", "experts@2", "router@2"}
    model = load_adapter(tiny_model("gpt_oss"), tmp_path / "cells" / "experts@2-rank2-seed0")
    report = evaluate(model, tiny_tokenizer(), examples(4), progress=False)
    ours = rows(tmp_path)["experts@2-rank2-seed0"]["metrics"]["main"]["tvd"]["mean"]
    assert ours == pytest.approx(report.metrics["tvd"].mean, rel=1e-4)


def test_nothing_is_printed_where_no_bar_is_wanted(tmp_path, capfd):
    small_sweep(tmp_path, grid=ONE)
    out, err = capfd.readouterr()
    assert out == ""
    assert "it/s" not in err


def test_a_sweep_shows_one_bar(tmp_path, capsys):
    small_sweep(tmp_path, grid=ONE, disable_tqdm=False)
    out, err = capsys.readouterr()
    assert "train_runtime" not in out + err
    assert "states kept up to block 3: logits differ by" in out
    assert "100%" in err
    assert "mlp@3-rank2-seed0" in err


def test_where_states_cannot_be_kept_whole_forwards_run_and_it_says_so(
    folder, finished, capsys, monkeypatch
):
    remove_line(folder, NAMES[-1])
    monkeypatch.setattr(trunk_module, "takes_tree_mask", lambda _: False)
    small_sweep(folder)
    assert "states can't be kept" in capsys.readouterr().out
    ours, theirs = (rows(f)[NAMES[-1]]["metrics"]["main"] for f in (folder, finished[0]))
    assert ours["tvd"]["mean"] == pytest.approx(theirs["tvd"]["mean"], rel=1e-4)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"train_dataset": []}, ConfigError, "train_dataset is empty"),
        ({"eval_datasets": {}}, ConfigError, "eval_datasets is empty"),
        ({"grid": Grid(blocks=("9",))}, TargetingError, r"blocks \[9\] do not exist"),
        ({"eval_datasets": {"main": []}}, ConfigError, '"main" in eval_datasets holds no examples'),
        ({"eval_datasets": {"one": ONE_WORD}}, ConfigError, 'no example of "one" has two words'),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, changed, error, message):
    given = {"train_dataset": examples(), "eval_datasets": {"main": examples(2)}}
    given |= {"args": settings(tmp_path / "new")}
    with pytest.raises(error, match=message):
        sweep_function(tiny_model("llama"), tiny_tokenizer(), **(given | changed))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("full", [OSError(28, "No space left on device"), SafetensorError("full")])
def test_a_full_disk_ends_the_sweep_and_keeps_what_is_finished(folder, monkeypatch, full):
    remove_line(folder, NAMES[3])
    remove_line(folder, NAMES[4])
    saved, save = [], peft.peft_model.safe_save_file

    def save_one(*args, **kwargs):
        if saved:
            raise full
        saved.append(1)
        save(*args, **kwargs)

    monkeypatch.setattr(peft.peft_model, "safe_save_file", save_one)
    with pytest.raises(LoadError, match=f"{folder} can't be written to .*finished cells are kept"):
        small_sweep(folder)
    assert list(rows(folder)) == NAMES[:4]
    assert claims(folder) == []
    monkeypatch.undo()
    monkeypatch.setattr(MODULE, "_TEXTS", 3)
    small_sweep(folder)
    assert list(rows(folder)) == NAMES


def test_what_others_work_on_is_left_to_them(folder):
    remove_line(folder, NAMES[3])
    with claimed(folder, NAMES[3]):
        found = small_sweep(folder)
    assert found.elsewhere == (NAMES[3],)
    assert str(found).endswith(f"others are at work on {NAMES[3]}")
    assert NAMES[3] not in rows(folder)
