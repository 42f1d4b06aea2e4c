"""A whole sweep of a tiny model: what it leaves."""

import hashlib
import json
from dataclasses import asdict, replace

import peft
import pytest
import torch

from distmatch.data import Example, WordDistribution
from distmatch.errors import ConfigError, TargetingError
from distmatch.evals import Report, evaluate
from distmatch.models import trunk as trunk_module
from distmatch.models.adapters import load_adapter
from distmatch.scoring import model_encoder
from distmatch.sweeps import Grid
from distmatch.sweeps import sweep as sweep_function
from distmatch.trainer import DistributionConfig
from tests.sweeps.small import (
    GRID,
    NAMES,
    ONE,
    adapters,
    claims,
    examples,
    measured,
    rows,
    settings,
    small_sweep,
)
from tests.tiny import tiny_model, tiny_tokenizer

ONE_WORD = [Example(prompt="Say red:", target=WordDistribution(("red",), (0.5,), 0.5))]


def test_every_cell_has_its_line_and_its_adapter(finished):
    folder, found = finished
    assert list(rows(folder)) == NAMES
    assert set(adapters(folder)) == set(NAMES)
    assert {path.name for path in folder.iterdir()} == {
        *("sweep.json", "results.jsonl", "probe.json", "lock", "report.html"),
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


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_those_of_the_saved_adapter_on_the_whole_model(finished, name):
    folder, _ = finished
    model = load_adapter(tiny_model("llama"), folder / "cells" / name)
    for test, asked in (("main", examples(4)), ("far", examples(3, say="Write"))):
        report = evaluate(model, tiny_tokenizer(), asked, progress=False)
        for metric, value in report.metrics.items():
            ours = rows(folder)[name]["metrics"][test][metric]["mean"]
            assert ours == pytest.approx(value.mean, rel=1e-4, abs=1e-6), metric
        if test == "main":
            kept = Report.load(folder / "cells" / name / "report.json")
            assert kept.given == pytest.approx(report.given, abs=1e-5)


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


def test_a_grid_may_grow(folder, finished):
    found = small_sweep(folder, grid=replace(GRID, blocks=("1", "3", "2"), sites=("mlp",)))
    assert list(rows(folder)) == [*NAMES, "mlp@2-rank2-lr0.01-seed0"]
    assert measured(folder).items() >= measured(finished[0]).items()
    assert len(found.findings) == 6


def test_seeds_differ_and_share_a_finding(tmp_path):
    found = small_sweep(tmp_path, grid=replace(ONE, seeds=(0, 1)))
    first, second = (rows(tmp_path)[f"mlp@3-rank2-lr0.01-seed{seed}"]["metrics"] for seed in (0, 1))
    assert first != second
    assert {(f.name, f.num_seeds) for f in found.findings} == {("all@0-3", 2), ("mlp@3", 2)}
    assert all(f.control.low < f.control.mean < f.control.high for f in found.findings)


def test_of_several_learning_rates_the_tuning_examples_choose(tmp_path):
    tuning, rates = examples(3, say="Tell"), {"mlp": [1e-3, 1e-1]}
    first = small_sweep(tmp_path, grid=replace(ONE, learning_rates=rates), tuning=tuning)
    found = small_sweep(tmp_path, grid=ONE, tuning=tuning, learning_rate=3e-2)  # of the same place
    assert {(f.name, f.learning_rate) for f in found.findings} == {
        *(("mlp@3", rate) for rate in (1e-3, 1e-1, 3e-2)),
        *(("all@0-3", rate) for rate in (1e-2, 3e-2)),
    }
    assert len(first.findings) == 3
    assert all(set(f.transfer) == {"far"} for f in found.findings)
    for f in found.findings:
        name = f"{f.name}-rank2-lr{f.learning_rate}-seed0"
        model = load_adapter(tiny_model("llama"), tmp_path / "cells" / name)
        told = evaluate(model, tiny_tokenizer(), tuning, progress=False).metrics
        control = told["policy_tvd"].mean - told["control_tvd"].mean
        assert f.tuning == pytest.approx(control, rel=1e-4, abs=1e-6)
        assert rows(tmp_path)[name]["metrics"]["tuning"]["swap_gap"]["mean"] is None
        others = [g.tuning for g in found.findings if g.name == f.name]
        assert f.chosen == (f.tuning == max(others))


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
    grid = Grid(sites=("q", "o"), blocks=("3",), rank=2, learning_rates={"o": [1e38]})
    tokenizer = tiny_tokenizer(chat=False)
    plain = [replace(row, prompt=row.prompt[0]["content"], rotations=()) for row in examples()]
    given = {"train_dataset": plain, "eval_datasets": {"main": plain}, "grid": grid}
    given["num_texts"] = 2
    given["args"] = settings(tmp_path, activation_checkpointing=True)
    found = sweep_function(model, tokenizer, **given)
    assert list(found.failed) == ["o@3-rank2-lr1e+38-seed0"]
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
    assert (
        rows(tmp_path)["mlp@3-rank2-lr0.01-seed0"]["metrics"]["one"]["control_tvd"]["mean"] is None
    )


def test_what_has_no_use_in_a_sweep_is_refused(tmp_path, monkeypatch):
    for given in ({"retention_weight": 0.5}, {"refresh_steps": 2}):
        (name,) = given
        with pytest.raises(ConfigError, match=f"{name} has no use in a sweep"):
            small_sweep(tmp_path / "new", **given)
    monkeypatch.setattr(DistributionConfig, "n_gpu", 2)
    with pytest.raises(ConfigError, match="start a process for each, with CUDA_VISIBLE_DEVICES=0"):
        small_sweep(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_experts_attention_and_router_of_a_mixture(tmp_path):
    grid = Grid(sites=("experts", "router"), blocks=("2",), rank=2)
    found = small_sweep(tmp_path, tiny_model("gpt_oss"), grid=grid)
    assert {f.name for f in found.findings} == {"all@0-3", "experts@2", "router@2"}
    model = load_adapter(tiny_model("gpt_oss"), tmp_path / "cells" / "experts@2-rank2-lr0.01-seed0")
    report = evaluate(model, tiny_tokenizer(), examples(4), progress=False)
    ours = rows(tmp_path)["experts@2-rank2-lr0.01-seed0"]["metrics"]["main"]["tvd"]["mean"]
    assert ours == pytest.approx(report.metrics["tvd"].mean, rel=1e-4)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"train_dataset": []}, ConfigError, "train_dataset is empty"),
        ({"eval_datasets": {}}, ConfigError, "eval_datasets is empty"),
        ({"grid": Grid(blocks=("9",))}, TargetingError, r"blocks \[9\] do not exist"),
        ({"eval_datasets": {"main": []}}, ConfigError, '"main" in eval_datasets holds no examples'),
        ({"eval_datasets": {"one": ONE_WORD}}, ConfigError, 'no example of "one" has two words'),
        (
            {"eval_datasets": {"main": examples(2), "tuning": examples(2)}},
            ConfigError,
            "'tuning' in eval_datasets can't be called so",
        ),
        (
            {"tuning_dataset": [*examples(2, say="Tell"), *examples(1)]},
            ConfigError,
            'example 3 of tuning_dataset .* is in "main" too',
        ),
        (
            {"tuning_dataset": [*examples(2, say="Tell"), *examples(8)[2:]]},
            ConfigError,
            'example 3 of tuning_dataset .* is in "train_dataset" too',
        ),
        ({"tuning_dataset": ONE_WORD}, ConfigError, "no example of tuning_dataset .* two words"),
        (
            {"tuning_dataset": []},
            ConfigError,
            "tuning_dataset .* is empty: give examples, or leave",
        ),
        (
            {"grid": replace(ONE, learning_rates={"mlp": [0.1, 0.2]})},
            ConfigError,
            "mlp@3 of rank 2 would have the learning rates 0.1 and 0.2 in .* with nothing to",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, changed, error, message):
    given = {"train_dataset": examples(), "eval_datasets": {"main": examples(1)}}
    given |= {"args": settings(tmp_path / "new")}
    with pytest.raises(error, match=message):
        sweep_function(tiny_model("llama"), tiny_tokenizer(), **(given | changed))
    assert not (tmp_path / "new").exists()
