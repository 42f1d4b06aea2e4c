"""The study's script on a small random gpt-oss: real vocabulary, real packed checkpoint."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from transformers import GptOssConfig

from distmatch.cli.run_files import read_run
from distmatch.data import BroadControl, OutputControl, read_texts

EXAMPLES = Path(__file__).parents[2] / "examples"


SMALL = ("--tiny", "--examples", 24, "--test-examples", 4)


@pytest.fixture(scope="module")
def script():
    """Runs a script of examples/ with some arguments, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        offline = importlib.import_module("examples.offline_gptoss")  # one vocabulary for all tests
        patch.setitem(sys.modules, "offline_gptoss", offline)

        def run(name, *arguments):
            patch.setattr(sys, "argv", [name, *map(str, arguments)])
            importlib.import_module(name).main()

        yield run


@pytest.fixture(scope="module")
def once(script, tmp_path_factory):
    """The folder of a first run."""
    folder = tmp_path_factory.mktemp("trained") / "once"
    script("train_gptoss", *SMALL, "--batch", 4, "--steps", 10, "--rate", 4e-2, "--out", folder)
    return folder


def test_the_packed_model_learns_and_can_be_measured_the_other_way(script, once, tmp_path):
    metrics = json.loads((once / "metrics.json").read_text())["suites"]["examples"]
    assert metrics["after"]["forward_kl"]["mean"] < 0.9 * metrics["before"]["forward_kl"]["mean"]
    assert (once / "adapter_model.safetensors").is_file() and (once / "base.json").is_file()

    with pytest.raises(SystemExit, match=r"told other things: train.max_steps: 10 there, 50 here"):
        script("train_gptoss", *SMALL, "--batch", 4, "--steps", 50, "--rate", 4e-2, "--out", once)

    script(
        "train_gptoss",
        *SMALL,
        *("--steps", 0, "--adapter", once, "--out", tmp_path / "low"),
        *("--effort", "low", "--analyses", 2, "--analysis-tokens", 4),
    )
    report = json.loads((tmp_path / "low" / "before" / "examples" / "report.json").read_text())
    assert len(report["examples"]) == 8


def test_it_learns_behind_analyses_of_its_own(script, once, tmp_path):
    shutil.copytree(once / "base", tmp_path / "base")
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "Green tea is on the table."}\n"The fox ran."\n')
    script(
        "train_gptoss",
        *SMALL,
        *("--examples", 8, "--batch", 2, "--steps", 4, "--out", tmp_path),
        *("--refresh-steps", 2, "--analysis-tokens", 4),
        *("--effort", "medium", "--target", "experts@1-2", "--retention", texts),
        *("--retention-per-step", 1, "--retention-tokens", 4),
    )
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["train"]["retention_weight"] == told["train"]["retention_per_step"] == 1
    assert (tmp_path / "metrics.json").is_file()


def test_random_weights_of_full_size_go_the_same_way(script, tmp_path, monkeypatch, capsys):
    import offline_gptoss

    small = GptOssConfig(
        num_hidden_layers=2,
        hidden_size=64,
        intermediate_size=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=4,
        num_experts_per_tok=2,
    )
    monkeypatch.setattr(offline_gptoss, "GPT_OSS_20B", small)
    script(
        "train_gptoss",
        *("--full-random", "--steps", 2, "--examples", 16, "--test-examples", 2),
        *("--target", "attention", "--out", tmp_path),
    )
    told = capsys.readouterr().out
    assert told.startswith("a step will take about\nweights ") and "GB that are free" in told
    assert (tmp_path / "metrics.json").is_file()


@pytest.mark.parametrize(("effort", "own_chats"), [("low", 0), ("none", 1)])
def test_the_broad_recipe_stays_near_what_the_base_writes(
    effort, own_chats, script, once, tmp_path, capsys
):
    shutil.copytree(once / "base", tmp_path / "base")
    broad = (
        *("--tiny", "--recipe", "broad", "--examples", 4, "--test-examples", 1, "--batch", 2),
        *("--own-chats", own_chats, "--negatives", 2, "--short-questions", 1, "--steps", 2),
        *("--retention-tokens", 12),
        *("--effort", effort, "--analysis-tokens", 4, "--out", tmp_path),
    )
    script("train_gptoss", *broad)
    chats = read_texts(tmp_path / "own_chats.jsonl")
    assert 1 <= len(chats) <= 3 + own_chats
    assert all(("thinking" in chat[-1]) == (effort != "none") for chat in chats)
    lines = json.loads((tmp_path / "history.json").read_text())
    assert any(line.get("retention_kl", -1) >= 0 for line in lines)
    assert "a step will take about" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", ["ahead", "broad"])
def test_a_recipe_says_what_is_learned_kept_and_asked(script, recipe):
    del script  # which has put the folder on the path
    import train_gptoss

    parser = train_gptoss.arguments(None, model="m", quantization=None, rank=8)
    args = train_gptoss.parsed(parser, ["--recipe", recipe, "--test-examples", "80"])
    chats = train_gptoss.texts(args, None)
    suites = [(suite.name, suite.per_group) for suite in train_gptoss.carried_over(args, None)]
    if recipe == "ahead":
        assert isinstance(train_gptoss.task(args, None), OutputControl)
        assert (chats, suites) == ((), []) and (args.retention_tokens, args.steps) == (64, 400)
        return
    assert train_gptoss.task(args, None) == BroadControl(narrow_first=True)
    assert suites == [("carry_over", 10)]
    assert_is_that_of_the_run_file(args, chats)
    longest = 64 + chats.user_tokens + chats.thought_tokens + chats.answer_tokens
    assert longest < args.retention_tokens == 400
    args.retention_weight = 0
    assert train_gptoss.texts(args, None) == ()


def assert_is_that_of_the_run_file(args, chats):
    """But for the rank, and for the length of a text, which Harmony makes longer."""
    import train_gptoss

    run = read_run(EXAMPLES / "broad_control.toml")
    assert (chats.n, chats.answer_tokens) == (run.own_chats.n, run.own_chats.answer_tokens)
    assert len(chats.questions) == len(run.own_chats.questions)
    ours = train_gptoss.settings(args, None)
    names = ("learning_rate", "max_steps", "per_device_train_batch_size", "retention_weight")
    names += ("retention_per_step", "adam_beta2", "train_sampling_strategy", "warmup_steps")
    for name in names:
        assert getattr(ours, name) == getattr(run.config, name), name
    assert args.examples == run.data["n"]
