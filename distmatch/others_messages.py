"""What other packages say on an ordinary run and nobody can do anything about: left out by name.

Each is told by who says it, of what kind it is and how it begins, so that all else is still heard.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

_KERNELS_LOGGER = "bitsandbytes.backends.cpu.ops"
_KERNEL_LINE = "Failed to load CPU gemm_4bit_forward"


class _Warning(NamedTuple):
    """One that is left out."""

    message: str
    """How it begins, as a regular expression."""
    category: type[Warning]
    module: str
    """That raises it, as a regular expression."""


_OF_ATTACHING = (
    # PEFT asks transformers for the attribute by its old name, for every model
    _Warning(
        "`is_gradient_checkpointing` is deprecated", FutureWarning, r"transformers\.modeling_utils"
    ),
    # Of an adapter that is loaded twice, of which `load_adapter` looks at the same keys
    _Warning("Found missing adapter keys", UserWarning, r"peft\.peft_model"),
)
_OF_MERGING = _Warning("Merge lora module to 4-bit", UserWarning, r"peft\.tuners\.lora\.bnb")
_OF_NOTEBOOKS = _Warning("IProgress not found", Warning, r"tqdm\.auto")


def leave_out_at_imports() -> None:
    """Leave out what is said when packages are imported; imports none of them.

    bitsandbytes looks for a kernel of the hub's as soon as it is imported on some CPUs, and has its
    own without it. In a notebook tqdm asks for ipywidgets, which progress is shown without.
    """
    logging.getLogger(_KERNELS_LOGGER).addFilter(_is_no_kernel_line)
    _leave_out(_OF_NOTEBOOKS)


@contextmanager
def without_attaching_warnings() -> Iterator[None]:
    """Inside, what PEFT says while it puts an adapter onto a model isn't heard."""
    with warnings.catch_warnings():
        for one in _OF_ATTACHING:
            _leave_out(one)
        yield


@contextmanager
def without_merging_warnings() -> Iterator[None]:
    """Inside, PEFT's warning isn't heard that merging into 4 bit rounds, for who measures that."""
    with warnings.catch_warnings():
        _leave_out(_OF_MERGING)
        yield


def _is_no_kernel_line(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_KERNEL_LINE)


def _leave_out(one: _Warning) -> None:
    warnings.filterwarnings("ignore", one.message, one.category, one.module)
