"""The notebooks run from top to bottom, with fewer steps and examples than a reader would use."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
SHORTER = {
    "first_steps.ipynb": {
        **{"STEPS = 60": "STEPS = 2", "NUM_TEST = 60": "NUM_TEST = 2"},
        "train_batch_size=8": "train_batch_size=2",
    },
    "layer_sweep.ipynb": {
        **{
            "STEPS = 8": "STEPS = 2",
            "NUM_TEST = 8": "NUM_TEST = 2",
            "NUM_TEXTS = 8": "NUM_TEXTS = 1",
            "train_batch_size=4": "train_batch_size=2",
        },
        **{"BLOCKS = (14, 28)": "BLOCKS = (28,)", r"(\"attention\", \"mlp\")": r"(\"mlp\",)"},
    },
}


@pytest.mark.embedded
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_runs_and_draws(path, tmp_path):
    text = path.read_text()
    for given, shorter in SHORTER[path.name].items():
        assert given in text
        text = text.replace(given, shorter)
    notebook = nbformat.reads(text, as_version=4)
    NotebookClient(
        notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    drawn = [out for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out]
    assert any("image/png" in out["data"] for out in drawn)
