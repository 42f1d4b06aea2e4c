"""The three loops of the sweep's benchmark take the same steps."""

import json

import layer_sweep
import pytest

pytestmark = pytest.mark.embedded  # its tokenizer, not its weights


def test_all_loops_have_the_same_losses_and_gradients(tmp_path, monkeypatch):
    told = ["--tiny", "--steps", "2", "--blocks", "0", "1", "--sites", "mlp"]
    told += ["--check", "attention@1"]
    monkeypatch.setattr("sys.argv", ["layer_sweep.py", *told, "--json", str(tmp_path / "a.json")])
    layer_sweep.main()
    report = json.loads((tmp_path / "a.json").read_text())
    cells = [(cell["site"], cell["block"]) for cell in report["cells"]]
    assert cells == [("mlp", 0), ("attention", 1), ("mlp", 1)]
    for figure in ("loss_difference", "gradient_difference", "losses_difference"):
        assert report[figure] < 1e-4
    assert layer_sweep.TARGETS.keys() <= report.keys()


def test_ratios_are_of_sums_over_the_blocks_and_a_straight_line_is_held_against_the_cells():
    ms = {"ours": (10.0, 20.0), "one_row": (5.0, 5.0), "per_word": (30.0, 80.0)}  # a block, else
    bench = type("Bench", (), {"num_blocks": 8, "steps": 1, "states_seconds": 0.0})

    def cell(site, block, off=0.0):
        times = {f"{loop}_ms": a * (8 - block) + b + off for loop, (a, b) in ms.items()}
        differences = dict.fromkeys(("loss", "gradient", "losses"), 0.0)
        return {"site": site, "block": block, **times} | {
            f"{name}_difference": value for name, value in differences.items()
        }

    chosen = [(0, "mlp"), (4, "mlp"), (7, "mlp")]
    cells = [cell(site, block) for block, site in chosen] + [cell("mlp", 2, off=6.0)]
    found = layer_sweep.summary(cells, chosen, [(2, "mlp")], bench)
    of_ours = [10.0 * n + 20 for n in range(1, 9)]
    per_word = [30.0 * n + 80 for n in range(1, 9)]
    for name, blocks in (("all", 8), ("upper_half", 4), ("top_quarter", 2)):
        wanted = sum(per_word[:blocks]) / sum(of_ours[:blocks])
        assert found[f"ratio_{name}"] == pytest.approx(wanted, abs=0.006)
    checked = {each["loop"]: each for each in found["cost_model_checked"]}
    assert checked["ours"]["predicted_ms"] == 80.0
    assert checked["ours"]["ms"] == 86.0
