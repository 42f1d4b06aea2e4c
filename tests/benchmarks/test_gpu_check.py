"""The check of a GPU on a tiny model: all its parts, once each, however often it is started."""

import json
import os
import signal
import time

import pytest
import torch
from gpu_check import NAMES, main, run
from gpu_parts import pack_attention

from distmatch.models import load_model, random_packed, save_packed
from tests.tiny import tiny_model, tiny_tokenizer

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="what a GPU is in use by can't be forked"
)

KILLED_AFTER = ("tests", "attention")


def kept(path):
    return json.loads(path.read_text())["parts"] if path.exists() else {}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The results of a check that was killed and started again, and those it had before."""
    path = tmp_path_factory.mktemp("checked") / "new" / "check.json"
    arguments = ["--tiny", "--out", str(path)]
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)
            main(arguments)
        finally:
            os._exit(1)
    while len(kept(path)) < len(KILLED_AFTER) and not os.waitpid(child, os.WNOHANG)[0]:
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    before = kept(path)
    main(arguments)
    return path, before


def test_a_killed_check_goes_on_where_it_was(checked):
    path, before = checked
    assert tuple(before)[: len(KILLED_AFTER)] == KILLED_AFTER and len(before) < len(NAMES)
    after = kept(path)
    assert tuple(after) == NAMES
    assert {name: after[name] for name in before} == before


def test_a_second_start_repeats_nothing(checked, capsys):
    path, _ = checked
    there = path.read_bytes()
    main(["--tiny", "--out", str(path)])
    assert capsys.readouterr().out == ""
    assert path.read_bytes() == there


def test_the_results_say_what_of_and_by_which_command(checked):
    content = json.loads(checked[0].read_text())
    assert content["device"].startswith("CPU, ") and content["size"] == "tiny"
    assert f"torch {torch.__version__}" in content["versions"]
    for part in content["parts"].values():
        assert "--tiny" in part["command"] and part["seconds"] > 0


def test_without_a_gpu_all_tests_that_need_one_are_skipped(checked):
    tests = kept(checked[0])["tests"]
    assert tests["passed"] == tests["failed"] == 0 and tests["skipped"] >= 4


@pytest.mark.parametrize("kind", ["attention", "experts", "nf4"])
def test_a_step_is_split_and_held_against_plan_and_floor(checked, kind):
    part = kept(checked[0])[kind]
    assert part["peak_gb"] == part["fits"] == "no GPU"
    assert 0.01 < part["plan_gb"] < 0.1
    parts = part["parts_ms"]
    assert set(parts) == {"rest", "head", "unpacking", "attention", "experts"}
    assert all(took > 0 for took in parts.values())
    assert part["floor_ms"] == max(part["products_ms"], part["reading_ms"]) > 0
    assert part["fed_tokens"] <= part["prompt_tokens"] + 2 * 10
    for cap in (16, 24):
        capped = kept(checked[0])[f"{kind}-{cap}gb"]
        assert (capped["cap_gb"], capped["plan_gb"]) == (cap, part["plan_gb"])
        assert capped["step_ms"] > 0 and "parts_ms" not in capped


def test_steps_with_retention_stand_beside_one_without(checked):
    rows = kept(checked[0])["retention"]["rows"]
    assert [(row["texts"], row["tokens"]) for row in rows] == [(0, 0), (2, 8), (3, 16)]
    assert rows[0]["plan_gb"] < rows[1]["plan_gb"] < rows[2]["plan_gb"]
    assert all(row["step_ms"] > 0 for row in rows)


def test_the_suite_and_both_cells_are_there(checked):
    given, sweep = kept(checked[0])["given"], kept(checked[0])["sweep"]
    assert given["rows"] == 20 and given["measuring_s"] > 0
    names = [cell["cell"].partition("-rank")[0] for cell in sweep["cells"]]
    assert sorted(names) == ["all@0-1", "attention@1"]
    assert all(cell["train_seconds"] > 0 for cell in sweep["cells"])


def test_a_part_by_itself_prints_what_comes_of_it(capsys):
    main(["--tiny", "--only", "experts-16gb"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["target"] == "experts"


def test_what_ended_with_an_error_is_done_again(checked, tmp_path):
    content = json.loads(checked[0].read_text())
    content["parts"]["nf4-24gb"] = {"error": "not done in 150 seconds"}
    path = tmp_path / "check.json"
    path.write_text(json.dumps(content))
    main(["--tiny", "--out", str(path), "--parts", "nf4-24gb"])
    assert kept(path)["nf4-24gb"]["fits"] == "no GPU"
    assert {**kept(path), "nf4-24gb": 0} == {**kept(checked[0]), "nf4-24gb": 0}


def test_a_process_that_fails_says_why():
    assert run(["-c", "print(3)"]) == ("3\n", None)
    said, wrong = run(["-c", "print(3); raise SystemExit('no room')"])
    assert (said, wrong) == ("3\n", "3\nno room")
    assert run(["-c", "raise SystemExit(7)"])[1] == "exit 7"
    assert run(["-c", "import time; time.sleep(60)"], seconds=0.1)[1] == "not done in 0.1 seconds"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tiny", "--parts", "atention"], "argument --parts: invalid choice: 'atention'"),
        (["--parts", "tests"], "torch sees no CUDA device here: --tiny tries it all on a CPU"),
        (["--tiny", "--out", "{file}/check.json"], "{file} is a file: choose another folder"),
        (["--tiny", "--out", "{file}"], "--out is {file}, which holds no results: give another"),
        (["--tiny", "--out", "{other}"], "{other} holds results of {{'device': 'NVIDIA H200'"),
    ],
)
def test_what_cannot_be_is_refused_at_once(tmp_path, capsys, arguments, said):
    there = {"file": tmp_path / "file", "other": tmp_path / "other.json"}
    there["file"].write_text("[1]")
    about = {"device": "NVIDIA H200", "versions": "torch 2", "size": "tiny"}
    there["other"].write_text(json.dumps({**about, "parts": {}}))
    with pytest.raises(SystemExit):
        main([argument.format(**there) for argument in arguments])
    assert said.format(**there) in capsys.readouterr().err
    assert set(tmp_path.iterdir()) == set(there.values())


def test_attention_is_packed_as_a_loaded_models(tmp_path):
    save_packed(tiny_model("gpt_oss", hidden_size=64), tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded, _ = load_model(str(tmp_path), quantization="mxfp4+nf4", device="cpu")
    made = random_packed(loaded.config, "cpu", torch.float32)
    pack_attention(made)

    def packing(model):
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                state = getattr(module.weight, "quant_state", None)
                yield type(module), module.weight.shape, module.bias is None
                if state:
                    yield state.quant_type, state.blocksize, state.nested, module.compute_dtype

    assert list(packing(made)) == list(packing(loaded))
    assert made.is_loaded_in_4bit and loaded.is_loaded_in_4bit
