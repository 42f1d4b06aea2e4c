"""The three loops of the sweep's benchmark take the same steps."""

import json

import layer_sweep
import pytest

pytestmark = pytest.mark.embedded  # its tokenizer, not its weights


def test_all_loops_have_the_same_losses_and_gradients(tmp_path, monkeypatch):
    told = ["--tiny", "--steps", "2", "--blocks", "0", "1", "--check", "mlp@1"]
    monkeypatch.setattr("sys.argv", ["layer_sweep.py", *told, "--json", str(tmp_path / "a.json")])
    layer_sweep.main()
    report = json.loads((tmp_path / "a.json").read_text())
    cells = [(cell["site"], cell["block"]) for cell in report["cells"]]
    assert cells == [("attention", 0), ("mlp", 0), ("attention", 1), ("mlp", 1)]
    for figure in ("loss_difference", "gradient_difference", "losses_difference"):
        assert report[figure] < 1e-4
    assert all(report[figure] > 0 for figure in layer_sweep.TARGETS)
