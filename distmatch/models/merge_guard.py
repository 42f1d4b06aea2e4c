"""PEFT's merging, held back where the base is in 4 bits: rounding loses part of what was learnt."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from peft import PeftModel

from distmatch.errors import ConfigError
from distmatch.models.base_record import quantization_of

_CHECK = "_check_merge_allowed"  # what PEFT calls before it merges anything


def refuse_merging(adapted: PeftModel) -> None:
    """Make `merge_and_unload` and `merge_adapter` raise ConfigError on a base in 4 bits."""
    quantization = quantization_of(adapted)
    if quantization is not None:
        setattr(adapted.base_model, _CHECK, partial(_refuse, quantization))


@contextmanager
def merging_allowed(adapted: PeftModel) -> Iterator[None]:
    """Inside, PEFT merges into any base."""
    check = vars(adapted.base_model).pop(_CHECK, None)
    try:
        yield
    finally:
        if check is not None:
            setattr(adapted.base_model, _CHECK, check)


def _refuse(quantization: str) -> None:
    raise ConfigError(
        f"merging into {quantization} weights rounds the sum to 4 bits, which changes what the "
        "model answers. Keep the adapter beside the model; merge it into one loaded with "
        "quantization=None; or use distmatch.merge_and_measure, which measures what it costs"
    )
