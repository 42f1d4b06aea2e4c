"""The errors a user can cause, each also the standard exception it resembles."""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class DistmatchError(Exception):
    """Anything this library refuses, with what was given, what was expected and what to do."""


class DataError(DistmatchError, ValueError):
    """A record, word, probability or prompt that can't be used."""


class TargetingError(DistmatchError, ValueError):
    """A layer expression that doesn't name adaptable weights of the model at hand."""


class ConfigError(DistmatchError, ValueError):
    """A setting with an unknown name or an unusable value."""


class LoadError(DistmatchError, RuntimeError):
    """A model, adapter or cache that is missing, corrupt or doesn't fit."""


class MissingExtraError(DistmatchError, ImportError):
    """An optional dependency that isn't installed."""


def import_extra(module: str, extra: str) -> ModuleType:
    """The optional module, or an error that names the extra which brings it.

    Raises:
        MissingExtraError: The module can't be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f'this needs "{module}", which is not installed: pip install "distmatch[{extra}]"'
        ) from error


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """The sentence for a name that isn't one of the valid ones, with the nearest of them."""
    valid = list(valid)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return f'unknown {kind} "{name}"; known: {", ".join(valid)}.{hint}'
