"""What every test shares: no network, fixed seeds, the embedded model, skips."""

import gc
import os

gc.disable()  # until all is imported and collected, of which nothing is garbage

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Only bitsandbytes asks for compiled functions, at seconds of imports for each process
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import random
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.reports.browser import chromium, is_required
from tests.shapes import check_shapes

# The process of `make test` that shares tests out among others imports nothing else
if "PYTEST_XDIST_WORKER" in os.environ or "-n logical" not in " ".join(sys.argv):
    # Before the hook: what is first imported inside a hooked module is compiled anew each time
    import peft  # noqa: F401
    import scipy.stats  # noqa: F401
    import transformers.trainer  # noqa: F401

    check_shapes(Path(__file__).parents[1])

# torch's first call is slow; hypothesis would call the test flaky
settings.register_profile("distmatch", deadline=None, derandomize=True)
settings.load_profile("distmatch")


def pytest_collection_modifyitems(items):
    """Mark what uses the embedded model; skip what needs a GPU or a browser without one.

    The longest file is moved to the front, so that no process waits for it at the end.
    """
    items.sort(key=lambda item: item.path.name != "test_processes.py")
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if needs_gpu and not _has_gpu():
        for item in needs_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
    needs_browser = [item for item in items if item.get_closest_marker("browser")]
    if needs_browser and not (chromium() or is_required()):
        for item in needs_browser:
            item.add_marker(pytest.mark.skip(reason="needs Chromium"))
    for item in items:
        if "embedded" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.embedded)


def pytest_collection_finish():
    """Let the many collections that training asks for pass over what was imported."""
    gc.collect()
    gc.freeze()
    gc.enable()


def _has_gpu():
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def _seeds():
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _little_garbage():
    """Let the many collections that training asks for pass over what other files have left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _plain_figures(request):
    """Figures are coarse and not laid out where they aren't the subject: most of a run's time."""
    with pytest.MonkeyPatch.context() as patch:
        if "plots" not in request.path.parts:
            patch.setattr("distmatch.plots.style._LAYOUT", None)
            patch.setattr("distmatch.plots.style._DPI", 20)
        yield


@pytest.fixture(scope="session")
def embedded():
    """The embedded model and its tokenizer, one copy for the whole run.

    A test that trains or changes the model works on a `copy.deepcopy` of it.
    """
    from distmatch.models.loading import load_model

    return load_model("smollm2-135m")


@pytest.fixture(scope="session")
def harmony():
    """gpt-oss's true tokenizer with a Harmony template."""
    from examples.offline_gptoss import harmony_tokenizer

    return harmony_tokenizer()
