"""What other packages say on an ordinary run is left out, and all else is heard."""

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from distmatch.others_messages import without_attaching_warnings, without_merging_warnings
from tests.tiny import tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[1]

QUICKSTART = """
import sys
from dataclasses import replace
from examples import quickstart as example
from distmatch.evals import OwnExamples
from distmatch.models import ModelChoice

folder, model = sys.argv[1:]
whole = example.quickstart

def small(*given):
    run = whole(*given)
    suites = [OwnExamples(rows=run.suites[0].rows[:2])]
    return replace(run, model=ModelChoice(name=model), suites=suites)

example.quickstart = small
sys.argv[1:] = ["--out", folder, "--steps", "2"]
example.main()
"""


@pytest.mark.embedded  # whose tokenizer chooses the words
def test_the_quickstart_warns_of_nothing(tmp_path):
    model = tiny_model("llama", num_hidden_layers=1, max_position_embeddings=1024)
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", QUICKSTART, str(tmp_path / "run"), str(tmp_path / "model")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "control_tvd" in done.stdout
    assert "\r" not in done.stderr
    of_progress = (" left", ": done in ")  # where it takes a minute
    assert [
        line for line in done.stderr.splitlines() if not any(x in line for x in of_progress)
    ] == []


def test_bitsandbytes_other_lines_are_heard(caplog):
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    logger.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s", "none")
    logger.warning("out of memory")
    assert caplog.messages == ["out of memory"]


LEFT_OUT = [
    *(without_attaching_warnings, FutureWarning, "transformers.modeling_utils"),
    "`is_gradient_checkpointing` is deprecated and will be removed in v6.",
    *(without_attaching_warnings, UserWarning, "peft.peft_model"),
    "Found missing adapter keys while loading the checkpoint: [].",
    *(without_merging_warnings, UserWarning, "peft.tuners.lora.bnb"),
    "Merge lora module to 4-bit linear may get different generations due to rounding errors.",
]


@pytest.mark.parametrize("number", range(3))
def test_a_warning_is_left_out_by_message_kind_and_module_together(number):
    without, category, module, message = LEFT_OUT[4 * number : 4 * number + 4]

    def warned(message=message, category=category, module=module):
        warnings.warn_explicit(message, category, "there.py", 1, module, {})

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with without():
            warned()
            assert heard == []
            warned(message="something else")
            warned(category=RuntimeWarning)
            warned(module="distmatch.models")
    assert len(heard) == 3
