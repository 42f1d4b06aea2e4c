"""The notebooks run from top to bottom, with fewer steps and examples than a reader would use."""

from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
SHORTER = {
    "first_steps.ipynb": {
        **{"STEPS = 60": "STEPS = 1", "NUM_TEST = 60": "NUM_TEST = 1"},
        "train_batch_size=8": "train_batch_size=1",
    },
    "broad_control.ipynb": {
        **{"STEPS = 60": "STEPS = 1", "NUM_TEST = 24": "NUM_TEST = 1"},
        **{"PER_TOPIC = 4": "PER_TOPIC = 1", "train_batch_size=8": "train_batch_size=1"},
    },
    "layer_sweep.ipynb": {
        **{
            "STEPS = 8": "STEPS = 1",
            "NUM_TEST = 8": "NUM_TEST = 1",
            "NUM_TEXTS = 8": "NUM_TEXTS = 1",
            "train_batch_size=4": "train_batch_size=1",
        },
        **{"BLOCKS = (14, 28)": "BLOCKS = (28,)", r"(\"attention\", \"mlp\")": r"(\"mlp\",)"},
    },
}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One for all notebooks, so that torch is imported once."""
    manager = KernelManager()
    manager.start_kernel(cwd=str(tmp_path_factory.mktemp("notebooks")))
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.embedded
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_runs_and_draws(path, kernel):
    text = path.read_text()
    for given, shorter in SHORTER[path.name].items():
        assert given in text
        text = text.replace(given, shorter)
    notebook = nbformat.reads(text, as_version=4)
    forgetting = nbformat.v4.new_code_cell("%reset -f")  # each begins with no name but its own
    notebook.cells.insert(0, forgetting)
    client = NotebookClient(notebook, km=kernel, timeout=None)
    client.execute()
    client.kc.stop_channels()  # which it leaves open where the kernel is another's
    shown = [
        out["data"] for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out
    ]
    assert any("image/png" in out or "<img" in out.get("text/html", "") for out in shown)
    assert any("<table>" in out.get("text/html", "") for out in shown) == (
        path.name != "broad_control.ipynb"
    )
