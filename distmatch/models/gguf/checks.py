"""Which GGUF files are models that can be read; the others say what they are."""

from distmatch.errors import LoadError, unknown_name
from distmatch.models.gguf.architectures import ARCHITECTURES, EMBEDDING
from distmatch.models.gguf.stored import Gguf

_OTHERS = {
    "adapter": "a LoRA for llama.cpp: give the GGUF file of its base, and convert the adapter to "
    "PEFT's format for load_adapter",
    "mmproj": "the part of a model that sees: give the GGUF file of its language model",
    "imatrix": "statistics for quantising: give the model's GGUF file",
}


def check_model(gguf: Gguf) -> None:
    """Refuse a file that is no language model's, or not all of it.

    Raises:
        LoadError: Such a file; says what it is and what to do.
    """
    kind = str(gguf.metadata.get("general.type", "model"))
    if kind == "model" and gguf.architecture == "clip":
        kind = "mmproj"
    if "adapter.type" in gguf.metadata or any(name.endswith(".lora_a") for name in gguf.tensors):
        kind = "adapter"
    if kind != "model":
        told = _OTHERS.get(kind, f'of the type "{kind}": give the GGUF file of a model')
        raise LoadError(f"{gguf.path} is {told}")
    parts = gguf.metadata.get("split.count", 1)
    if parts > 1:
        number = gguf.metadata.get("split.no", 0) + 1
        raise LoadError(
            f"{gguf.path} is part {number} of {parts}: join them first, with llama.cpp's "
            "llama-gguf-split --merge FIRST_PART WHOLE.gguf"
        )
    if gguf.architecture not in ARCHITECTURES:
        named = unknown_name("architecture", gguf.architecture, ARCHITECTURES)
        raise LoadError(
            f"{gguf.path}: {named} Load the model's safetensors, from the hub or a directory"
        )
    if not gguf.tensors:
        raise LoadError(
            f"{gguf.path} holds a vocabulary and no weights: give the GGUF file of a model"
        )
    if EMBEDDING not in gguf.tensors:
        raise LoadError(f"{gguf.path} lacks {EMBEDDING}: download or convert it again")
