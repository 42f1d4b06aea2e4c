"""Cells: trained as a plain run would, above kept states, each once, whatever goes wrong."""

import json
from contextlib import ExitStack
from dataclasses import replace

import peft
import pytest
import torch
from safetensors import SafetensorError

from distmatch.claims import claimed
from distmatch.data.batching import make_batch
from distmatch.errors import ConfigError, LoadError
from distmatch.evals import measure
from distmatch.models import trunk as trunk_module
from distmatch.models.adapters import load_adapter
from distmatch.models.lora import lora
from distmatch.models.proof import ForwardWay
from distmatch.models.trunk import Tree, Trunk
from distmatch.sweeps import Grid, cell_runs, measures, states
from distmatch.trainer import DistributionTrainer
from tests.progress.terminal import terminal
from tests.sweeps.small import (
    NAMES,
    ONE,
    ONE_NAMES,
    adapters,
    claims,
    examples,
    measured,
    remove_line,
    rows,
    settings,
    small_sweep,
    times,
)
from tests.tiny import tiny_model, tiny_tokenizer

TARGETS = [("llama", "mlp@2"), ("gpt_oss", "experts@2"), ("gemma3", "attention@2-3")]


def plain_trainer(folder, family, target, seed=0, **given):
    return DistributionTrainer(
        model=tiny_model(family),
        args=settings(folder, seed=seed, **given),
        processing_class=tiny_tokenizer(),
        train_dataset=examples(),
        peft_config=lora(target, rank=2),
    )


@pytest.mark.parametrize("name", ["all@0-3-rank2-lr0.01-seed0", "mlp@3-rank2-lr0.01-seed0"])
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


def test_lower_cells_take_more_flops(finished):
    flops = {name.partition("@")[2][:3]: row["flops"] for name, row in rows(finished[0]).items()}
    assert flops["0-3"] > flops["1-r"] > 1.5 * flops["3-r"] > 0


def trunk_of(run, block):
    batches = [make_batch([trie], run.encoder) for trie in run.train_tries]
    trees = [Tree(batch.ids, batch.depths, batch.ends) for batch in batches]
    trunk = Trunk(run.adapted, trees, progress=False)
    trunk.raise_to(block)
    return trunk


def losses(run):
    return [line["loss"] for line in run.state.log_history if "loss" in line]


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
    files, seen = [], []

    def small_trunk(*args, **given):
        files.append(given["folder"] / "states-3.safetensors")
        return Trunk(*args, most_bytes=10, **given)

    def seeing(*args, **given):
        seen.append(files[0].exists())
        return measure(*args, **given)

    monkeypatch.setattr(states, "Trunk", small_trunk)
    monkeypatch.setattr(measures, "measure", seeing)
    small_sweep(folder)
    assert seen == [True, True]
    assert list(folder.glob("states*")) == []
    assert measured(folder) == measured(finished[0])


def test_where_states_cannot_be_kept_whole_forwards_run_and_it_says_so(
    folder, finished, capsys, monkeypatch
):
    remove_line(folder, NAMES[-1])
    monkeypatch.setattr(trunk_module, "forward_way", lambda _: ForwardWay("cache", {"tree": "-"}))
    small_sweep(folder)
    assert "states can't be kept" in capsys.readouterr().out
    ours, theirs = (rows(f)[NAMES[-1]]["metrics"]["main"] for f in (folder, finished[0]))
    assert ours["tvd"]["mean"] == pytest.approx(theirs["tvd"]["mean"], rel=1e-4)


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


@pytest.mark.parametrize("name", ["base/far/report.json", "probe.json"])
def test_what_was_measured_and_cannot_be_read_is_refused_before_any_cell(folder, name):
    remove_line(folder, NAMES[2])
    path = folder / name
    path.write_text("{")
    with pytest.raises(ConfigError, match=f"{path.name} .*remove it and start the sweep again"):
        small_sweep(folder)
    assert NAMES[2] not in rows(folder)
    path.unlink()
    small_sweep(folder)
    assert list(rows(folder))[-1] == NAMES[2]


def test_a_cell_whose_process_is_killed_later_is_gone_back_to(folder, monkeypatch):
    remove_line(folder, NAMES[2])
    remove_line(folder, NAMES[3])
    held, run = ExitStack(), cell_runs.trained_cell
    held.enter_context(claimed(folder, NAMES[2]))

    def released(*args):  # the other process ends while this one is at its next cell
        held.close()
        return run(*args)

    monkeypatch.setattr(cell_runs, "trained_cell", released)
    assert small_sweep(folder).elsewhere == ()
    assert list(rows(folder)) == [NAMES[0], NAMES[1], NAMES[4], NAMES[3], NAMES[2]]


def test_what_others_work_on_is_left_to_them(folder):
    remove_line(folder, NAMES[3])
    with claimed(folder, NAMES[3]):
        found = small_sweep(folder)
    assert found.elsewhere == (NAMES[3],)
    assert str(found).endswith(f"others are at work on {NAMES[3]}")
    assert NAMES[3] not in rows(folder)


@pytest.mark.parametrize("max_steps", [1, 3])
def test_a_cell_that_diverges_has_failed_and_the_others_go_on(tmp_path, max_steps):
    grid = Grid(sites=("o", "mlp"), blocks=("3",), rank=2, learning_rates={"o": [1e38]})
    found = small_sweep(tmp_path, grid=grid, max_steps=max_steps)
    (name,) = found.failed
    assert name == "o@3-rank2-lr1e+38-seed0"
    assert "finite" in found.failed[name] or "forward_kl is" in found.failed[name]
    assert "lower learning_rate" in rows(tmp_path)[name]["failed"]
    assert f"{name} failed: " in found.report
    assert {f.name for f in found.findings} == {"all@0-3", "mlp@3"}
    before = (tmp_path / "results.jsonl").read_bytes()
    small_sweep(tmp_path, grid=grid, max_steps=max_steps)
    assert (tmp_path / "results.jsonl").read_bytes() == before
    lower = replace(grid, learning_rates={"o": [1e-3]})  # as the reason says
    found = small_sweep(tmp_path, grid=lower, max_steps=max_steps)
    assert "o@3" in {f.name for f in found.findings}
    assert list(found.failed) == [name]


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


@pytest.mark.parametrize(
    "full", [OSError(28, "No space left on device"), SafetensorError("I/O error: no room")]
)
def test_a_full_disk_ends_the_sweep_and_keeps_what_is_finished(folder, monkeypatch, full):
    remove_line(folder, NAMES[3])
    remove_line(folder, NAMES[4])
    saved, save = [], peft.peft_model.safe_save_file

    def save_one(*args, **kwargs):
        if saved:
            raise full
        saved.append(1)
        save(*args, **kwargs)

    with monkeypatch.context() as disk:
        disk.setattr(peft.peft_model, "safe_save_file", save_one)
        with pytest.raises(LoadError, match=f"{folder} can't be written to .*finished cells are"):
            small_sweep(folder)
    assert list(rows(folder)) == NAMES[:4]
    assert claims(folder) == []
    small_sweep(folder)
    assert list(rows(folder)) == NAMES


def test_nothing_is_printed_where_no_bar_is_wanted(tmp_path, capfd):
    small_sweep(tmp_path, grid=ONE)
    out, err = capfd.readouterr()
    assert out == ""
    assert "it/s" not in err


def test_a_sweep_shows_one_bar(tmp_path):
    with terminal() as seen:
        small_sweep(tmp_path, grid=ONE, disable_tqdm=False)
    said, done = seen.lines
    assert said.startswith("states kept up to block 3: logits differ by")
    assert done.startswith(f"{tmp_path}: done in ")
    for told in ("measuring the base, ", "probe ", "1/2 all@0-3-rank2", "2/2 mlp@3-rank2"):
        assert any(bar.startswith(told) for bar in seen.bars), told
    assert any("loss=" in bar and " left, " in bar for bar in seen.bars)
