"""`distmatch train`, in process, on a tiny model in a directory."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from distmatch.cli import main
from distmatch.cli.run_files import read_run
from distmatch.cli.sources import section_origin
from distmatch.data import negatives, output_control, read_texts, short_questions
from distmatch.measuring.metrics import METRICS
from tests.cli.small import metrics, refusal, run_file

LEFT_BEHIND = {
    "run.toml",
    "run.json",
    "history.json",
    "before",
    "after",
    "metrics.json",
    "calibration.png",
    "learning_curve.png",
    "report.html",
    "adapter_model.safetensors",
    "adapter_config.json",
    "README.md",
}


def killed(trained: Path, folder: Path) -> Path:
    """The run as a kill after its first checkpoint leaves it."""
    folder.mkdir()
    for name in ("run.toml", "run.json"):
        shutil.copyfile(trained / name, folder / name)
    for name in ("before", "checkpoint-2"):
        shutil.copytree(trained / name, folder / name)
    return folder


def test_training_leaves_adapter_metrics_figures_and_its_settings(trained):
    assert {path.name for path in trained.iterdir()} >= LEFT_BEHIND
    told = metrics(trained)
    assert list(told["before"]) == list(told["after"]) == list(METRICS)
    assert set(told["after"]["tvd"]) == {"mean", "low", "high"}
    assert told["num_items"] == 6
    assert told["after"]["forward_kl"]["mean"] < told["before"]["forward_kl"]["mean"]


def test_the_adapters_card_says_where_its_data_is_from(trained, tmp_path):
    card = (trained / "README.md").read_text(encoding="utf-8")
    assert "16 rows of 2 words a prompt, from the task output_control of distmatch, seed 0." in card
    files = {"train": str(tmp_path / "tea.jsonl"), "test": str(tmp_path / "test.jsonl")}
    assert section_origin(files) == "the file tea.jsonl"


def test_training_shows_what_it_will_train_and_both_reports(model, tmp_path, capsys):
    file = run_file(tmp_path, model)
    assert main(["train", str(file), "train.max_steps=1", "train.loss=total_variation"]) == 0
    told = capsys.readouterr().out
    assert "14 sites in blocks 0, 1" in told
    assert told.index("LoRA parameters") < told.index("before") < told.index("control_tvd")
    kept = tomllib.loads((tmp_path / "run" / "run.toml").read_text(encoding="utf-8"))
    assert kept["train"]["max_steps"] == 1
    assert kept["train"]["loss"] == "total_variation"


def test_the_kept_settings_are_a_run_file_with_the_defaults_filled_in(trained):
    text = (trained / "run.toml").read_text(encoding="utf-8")
    kept = tomllib.loads(text)
    assert text.startswith("# distmatch ")
    assert kept["data"]["seed"] == 0
    assert kept["data"]["words"] == [2]
    assert kept["data"]["pool"] == ["common"]
    assert kept["lora"] == {"target": "all", "rank": 4, "dropout": 0.0}
    assert kept["train"]["loss"] == "forward_kl"
    assert main(["eval", kept["model"]["name"], "--data", str(trained / "run.toml")]) == 0


def test_a_killed_run_goes_on_to_the_same_result(trained, tmp_path):
    folder = killed(trained, tmp_path / "run")
    assert main(["train", str(folder / "run.toml"), "--resume", f"train.output_dir={folder}"]) == 0
    adapter = "adapter_model.safetensors"
    assert (folder / adapter).read_bytes() == (trained / adapter).read_bytes()
    assert metrics(folder) == metrics(trained)


def test_rows_from_narrow_to_broad_go_on_where_they_were(model, tmp_path):
    broad = {"task": "broad_control", "n": 8, "n_test": 1, "words": [2, 3], "narrow_first": True}
    file = run_file(tmp_path, model, data=broad, train={"per_device_train_batch_size": 2})
    assert main(["train", str(file)]) == 0
    folder = killed(tmp_path / "run", tmp_path / "killed")
    assert main(["train", str(folder / "run.toml"), "--resume", f"train.output_dir={folder}"]) == 0
    adapters = [path / "adapter_model.safetensors" for path in (folder, tmp_path / "run")]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()


def test_resuming_a_finished_run_shows_it_again_and_changes_nothing(trained, capsys):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    assert main(["train", str(trained / "run.toml"), "--resume"]) == 0
    assert "is finished already\nexamples\nmetric" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


def test_files_and_upper_bounds_can_be_trained_on(model, tmp_path):
    train, test = output_control(n=4, n_test=3, words=2)
    for name, rows in (("train", train), ("test", test)):
        records = [{**row.to_record(), "other": "at_most", "rotations": []} for row in rows]
        text = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    paths = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "test")}
    file = run_file(tmp_path, model, data=None)
    overrides = [f"data.{name}={path}" for name, path in paths.items()]
    assert main(["train", str(file), *overrides, "train.max_steps=1"]) == 0
    assert metrics(tmp_path / "run")["num_items"] == 3


def test_suites_are_measured_beside_the_test_examples_and_texts_hold_the_model(model, tmp_path):
    (tmp_path / "texts.jsonl").write_text('"red or blue"\n{"text": "the cat and the dog"}\n')
    file = run_file(
        tmp_path,
        model,
        measure={"suites": ["given"]},
        retention={"path": str(tmp_path / "texts.jsonl"), "weight": 0.5},
        train={"max_steps": 1, "retention_per_step": 2, "retention_tokens": 8},
    )
    with file.open("a") as text:
        text.write("[suite.given]\nper_group = 1\n")
    assert main(["train", str(file), "suite.given.per_group=2"]) == 0
    folder = tmp_path / "run"
    told = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["suites"]
    assert list(told) == ["examples", "given"]
    settings = json.loads((folder / "before" / "given" / "settings.json").read_text())
    assert settings["given.per_group"] == 2
    assert (folder / "given.png").is_file()
    (line,) = [x for x in json.loads((folder / "history.json").read_text()) if "loss" in x]
    assert "retention_kl" in line
    again = read_run(folder / "run.toml")
    assert again.config.retention_weight == 0.5
    assert again.suites[0].per_group == 2


def test_the_base_writes_the_texts_once_and_they_are_kept(model, tmp_path):
    given = {"max_steps": 2, "save_steps": 1, "retention_tokens": 8}
    own = {"own_chats": 2, "negatives": 3, "short_questions": 2, "weight": 0.5}
    own["answer_tokens"] = 9
    file = run_file(tmp_path, model, retention=own, train=given)
    assert main(["train", str(file)]) == 0
    folder = tmp_path / "run"
    chats = read_texts(folder / "own_chats.jsonl")
    assert 5 <= len(chats) <= 7 and all(chat[-1]["role"] == "assistant" for chat in chats)
    asked = {chat[0]["content"] for chat in chats}
    for drawn in (negatives(3), short_questions(2)):
        assert asked & {prompt[0]["content"] for prompt in drawn}
    for name in ("history.json", "metrics.json"):
        (folder / name).unlink()
    kept = (folder / "own_chats.jsonl").stat().st_mtime_ns
    assert main(["train", str(file), "--resume"]) == 0
    assert (folder / "own_chats.jsonl").stat().st_mtime_ns == kept
    assert main(["train", str(file), "--resume", "retention.negatives=4"]) == 2
    none = read_run(file, ["retention.negatives=0", "retention.short_questions=0"]).own_chats
    assert (none.n, len(none.questions), none.answer_tokens) == (2, 0, 9)


def test_texts_of_ones_own_stand_beside_what_the_base_answers(model, tmp_path, capsys):
    texts = [f"Text number {n} has several words." for n in range(3)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    own = {"path": str(tmp_path / "texts.jsonl"), "negatives": 2, "answer_tokens": 9, "weight": 0.5}
    file = run_file(tmp_path, model, retention=own, train={"max_steps": 1, "retention_tokens": 8})
    assert main(["train", str(file)]) == 0
    kept = read_texts(tmp_path / "run" / "own_chats.jsonl")
    assert sorted(one for one in kept if isinstance(one, str)) == texts
    asked = {one[0]["content"] for one in kept if not isinstance(one, str)}
    assert asked and asked <= {prompt[0]["content"] for prompt in negatives(2)}
    (tmp_path / "texts.jsonl").write_text(json.dumps("Another text.") + "\n")
    capsys.readouterr()
    assert main(["train", str(file), "--resume"]) == 2
    assert "beside" in capsys.readouterr().err


BAD_SETTINGS = {
    "section": ({"trian": {"x": 1}}, 'unknown section "trian"; known: model, data, lora, train'),
    "model_key": ({"model": {"nmae": "x"}}, 'unknown key of [model] "nmae"; known: name, quant'),
    "quantization": ({"model": {"quantization": "int8"}}, 'unknown quantization "int8"'),
    "dtype": ({"model": {"dtype": "float23"}}, 'unknown dtype "float23"; known: float64, float32'),
    "data_key": ({"data": {"phrasing": "x"}}, 'Did you mean "phrasings"?'),
    "data_type": ({"data": {"n": "many"}}, 'data.n is "many", expected a whole number'),
    "data_items": (
        {"data": {"phrasings": [1]}},
        "data.phrasings is [1], expected a list of strings",
    ),
    "data_value": ({"data": {"phrasings": ["percents"]}}, 'Did you mean "percent"?'),
    "data_class": ({"data": {"pool": "colors"}}, 'Did you mean "colours"?'),
    "no_test": ({"data": {"n_test": 0}}, "n_test is 0, so there is nothing to measure on"),
    "task": ({"data": {"task": "output_contrl"}}, 'Did you mean "output_control"?'),
    "both": ({"data": {"train": "x.jsonl"}}, "[data] has both a task and train"),
    "neither": ({"data": None}, "[data] has neither a task nor train and test"),
    "sites": ({"lora": {"target": "mpl@3"}}, 'unknown site "mpl"'),
    "rank": ({"lora": {"rank": 0}}, "rank must be at least 1, got 0"),
    "rank_type": ({"lora": {"rank": 1.5}}, "lora.rank is 1.5, expected a whole number"),
    "no_target": ({"lora": None}, '[lora] has no "target", which every run needs'),
    "train_key": ({"train": {"learning_rat": 1}}, 'Did you mean "learning_rate"?'),
    "train_type": (
        {"train": {"learning_rate": "fast"}},
        'train.learning_rate is "fast", expected a number',
    ),
    "train_value": (
        {"train": {"lr_scheduler_type": "bumpy"}},
        "[train] can't be used: bumpy is not a valid SchedulerType",
    ),
    "no_folder": ({"train": None}, '[train] has no "output_dir"'),
    "loss": ({"train": {"loss": "forward_lk"}}, 'unknown loss "forward_lk"'),
    "beta": ({"train": {"loss": "jensen_shannon", "beta": 2}}, "beta is 2, expected 0 to 1"),
    "infinite": ({"train": {"loss": "reverse_kl"}}, "row 0: reverse_kl is infinite"),
    "suite": ({"measure": {"suites": ["givne"]}}, 'unknown suite "givne"'),
    "suites": ({"measure": {"suites": "given"}}, "expected a list of strings"),
    "stray": (
        {"measure": {"suites": ["given"]}, "suite.numbers": {"x": 1}},
        "there are settings of numbers, which isn't among the suites",
    ),
    "suite_key": (
        {"measure": {"suites": ["given"]}, "suite.given": {"per_grup": 1}},
        'unknown key of [suite.given] "per_grup"',
    ),
    "attention": ({"model": {"attention": "eagre"}}, 'unknown attention "eagre"'),
    "texts": ({"train": {"retention_weight": 0.5}}, "needs ordinary texts: name them in [reten"),
    "texts_steps": ({"train": {"retention_per_step": 2}}, "train.retention_per_step needs ordi"),
    "no_weight": ({"retention": {"path": "x.jsonl"}}, '[retention] has no "weight"'),
    "two_weights": (
        {"retention": {"path": "x.jsonl", "weight": 1}, "train": {"retention_weight": 2}},
        "train.retention_weight is the weight of [retention]: set it there alone",
    ),
    "two_sources": (
        {"retention": {"path": "x.jsonl", "own_chats": 2, "weight": 1}},
        "[retention] has both path, a file of texts, and own_chats",
    ),
    "of_its_own": (
        {"retention": {"path": "x.jsonl", "answer_tokens": 9, "weight": 1}},
        "[retention] has both path, a file of texts, and answer_tokens",
    ),
    "no_chats": ({"retention": {"own_chats": 0, "weight": 1}}, "own chats: n is 0, expected 1 or"),
    "weight": ({"retention": {"path": "x", "weight": -1}}, "retention_weight is -1, expected 0"),
    "no_texts": ({"retention": {"path": "x.jsonl", "weight": 1}}, "x.jsonl is not a file"),
    "code": (
        {"train": {"refresh_steps": 5}},
        "train.refresh_steps needs a function, which a run file can't give: leave it out, or use",
    ),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_a_bad_setting_is_refused(case, weightless, tmp_path, capsys):
    changes, expected = BAD_SETTINGS[case]
    assert expected in refusal(capsys, "train", run_file(tmp_path, weightless, **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("learning_rate=1", 'can\'t read the override "learning_rate=1": expected section.key='),
        ("train.learning_rate", "such as train.learning_rate=2e-3"),
        ("data.words=[2", 'the value of the override "data.words=[2" is not TOML'),
        ("train.learning_rate=.5", 'train.learning_rate is ".5", expected a number'),
        ("trian.seed=1", 'unknown section "trian"'),
        ("train.disable_tqdm=1", "train.disable_tqdm is 1, expected true or false"),
        ("data.words=7", "expected numbers of words, 2 to 5"),
    ],
)
def test_a_bad_override_is_refused(override, expected, weightless, tmp_path, capsys):
    assert expected in refusal(capsys, "train", run_file(tmp_path, weightless), override)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[model\n", "is not TOML: "),
        ('model = "x"\n', 'model is "x", expected a section [model]'),
        ("\udcff", "is not TOML: "),
    ],
)
def test_a_file_that_is_no_run_file_is_refused(text, expected, tmp_path, capsys):
    (tmp_path / "run.toml").write_bytes(text.encode("utf-8", errors="surrogateescape"))
    assert expected in refusal(capsys, "train", tmp_path / "run.toml")


def test_a_missing_run_file_is_refused(tmp_path, capsys):
    told = refusal(capsys, "train", tmp_path / "none.toml")
    assert f"can't read {tmp_path / 'none.toml'}: No such file" in told


def test_every_bad_line_of_both_files_is_shown(weightless, tmp_path, capsys):
    paths = {name: tmp_path / f"{name}.jsonl" for name in ("train", "test")}
    paths["train"].write_text('{"prompt": "a"}\n\nnot json\n', encoding="utf-8")
    paths["test"].write_text('{"prompt": "a", "words": ["b"], "probs": [0.5]}\n', encoding="utf-8")
    file = run_file(tmp_path, weightless, data=None)
    told = refusal(capsys, "train", file, *(f"data.{name}={paths[name]}" for name in paths))
    assert f'{paths["train"]}:1: column "words" is missing' in told
    assert f"{paths['train']}:3: not JSON" in told
    assert f"{paths['test']}:1: target probabilities sum to 0.5" in told


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"words": ["red<|im_end|>"], "probs": [1.0]}, "contains special tokens"),
        ({"words": ["red"], "probs": [1.0], "prefill": "So "}, "ends in white space"),
        ({"words": ["z" * 1100], "probs": [1.0]}, "more than the model's context of 1024"),
    ],
)
def test_what_cannot_be_encoded_is_refused(record, expected, weightless, tmp_path, capsys):
    record = {"prompt": [{"role": "user", "content": "Say red."}], **record}
    good = {"prompt": "Say red", "words": ["red"], "probs": [1.0]}
    (tmp_path / "bad.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(record)}\n")
    data = {name: str(tmp_path / "bad.jsonl") for name in ("train", "test")}
    file = run_file(tmp_path, weightless, data=None)
    told = refusal(capsys, "train", file, *(f"data.{name}={path}" for name, path in data.items()))
    assert "train row 1: " in told
    assert "test row 1: " in told
    assert told.count(expected) == 2


def test_weights_that_cannot_be_read_are_refused_last(weightless, tmp_path, capsys):
    told = refusal(capsys, "train", run_file(tmp_path, weightless))
    assert "model.safetensors is corrupt or cut short" in told
    assert not (tmp_path / "run").exists()


def test_blocks_the_model_lacks_are_refused_before_training(model, tmp_path, capsys):
    told = refusal(capsys, "train", run_file(tmp_path, model), "lora.target=mlp@7")
    assert "blocks [7] do not exist: this LlamaForCausalLM has 2" in told
    assert not (tmp_path / "run" / "run.toml").exists()


def test_a_folder_that_holds_a_run_is_refused(trained, weightless, tmp_path, capsys):
    file = run_file(tmp_path, weightless)
    told = refusal(capsys, "train", file, f"train.output_dir={trained}")
    assert f"{trained} holds another run: go on with it (--resume," in told


def test_a_folder_that_holds_an_adapter_of_other_making_is_refused(weightless, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "adapter_config.json").write_text("{}")
    told = refusal(capsys, "train", run_file(tmp_path, weightless))
    assert "run holds checkpoints or an adapter of another run: choose another output" in told


def test_resuming_with_other_settings_is_refused_and_shows_them(trained, capsys):
    argv = ["train", trained / "run.toml", "--resume", "lora.rank=8", "lora.alpha=2"]
    told = refusal(capsys, *argv, "data.n=20")
    assert f"the run in {trained} was told other things: lora.rank: 4 there, 8 here; " in told
    assert 'data.train: "16 rows, ' in told
    assert 'there, "20 rows, ' in told
    assert "; lora.alpha: not set there, 2 here" in told


def test_resuming_nothing_is_refused(weightless, tmp_path, capsys):
    told = refusal(capsys, "train", run_file(tmp_path, weightless), "--resume")
    assert "holds no run to resume (no run.json): leave out --resume" in told
