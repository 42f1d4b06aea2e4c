"""What PEFT says while it puts an adapter onto a model, and nobody can do anything about."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_OF_NO_USE = (
    "`is_gradient_checkpointing` is deprecated",  # which PEFT asks transformers for
    "Found missing adapter keys",  # the same keys are an error of `load_adapter`
)


@contextmanager
def without_pefts_warnings() -> Iterator[None]:
    """Inside, these are left out; all other warnings are shown."""
    with warnings.catch_warnings():
        for message in _OF_NO_USE:
            warnings.filterwarnings("ignore", message=message)
        yield
