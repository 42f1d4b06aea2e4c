"""Which model, and how it is loaded; known by what it is before that."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distmatch.errors import ConfigError, unknown_name
from distmatch.models import gguf
from distmatch.models.adapters import check_adapter
from distmatch.models.loading import (
    QUANTIZATIONS,
    load_config,
    load_model,
    load_tokenizer,
    model_source,
    named_dtype,
)

ATTENTIONS = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")

_OF_A_MODEL = frozenset({".json", ".safetensors", ".jinja", ".model", ".txt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The section [model] of a run file.

    Raises:
        ConfigError: An unknown quantization, dtype or attention.
    """

    name: str
    """`"smollm2-135m"`, a directory, a GGUF file, or a hub id."""
    quantization: str | None = None
    """`"nf4"` packs linear layers into 4 bit; None keeps the checkpoint's weights."""
    dtype: str | None = None
    """Of what isn't packed: `"float32"`, `"bfloat16"`; None keeps the checkpoint's."""
    template: bool = True
    """Whether messages go through the chat template, if there is one; else by blank lines."""
    attention: str | None = None
    """transformers' implementation, such as `"eager"`; None keeps its choice."""

    def __post_init__(self) -> None:
        """Check what can be checked without loading."""
        if self.quantization is not None and self.quantization not in QUANTIZATIONS:
            raise ConfigError(unknown_name("quantization", self.quantization, QUANTIZATIONS))
        if self.dtype is not None:
            named_dtype(self.dtype)
        if self.attention is not None and self.attention not in ATTENTIONS:
            raise ConfigError(unknown_name("attention", self.attention, ATTENTIONS))

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The model and its tokenizer, as `load_model` gives them but for the template."""
        model, tokenizer = load_model(self.name, quantization=self.quantization, dtype=self.dtype)
        if self.attention is not None:
            _set_attention(model, self.attention)
        return model, self._without_template(tokenizer)

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer alone, which needs no weights."""
        return self._without_template(load_tokenizer(self.name))

    def record(self) -> dict[str, Any]:
        """What its answers depend on, as plain JSON: a hash of its files, and how it is loaded.

        Where it lies and what it is called don't count. Of a hub id its commit stands for the
        files.

        Raises:
            LoadError: There is no such model.
        """
        told = {
            "quantization": self.quantization,
            "dtype": self.dtype,
            "template": self.template,
            "attention": self.attention,
        }
        if (file := gguf.gguf_file(self.name)) is not None:
            return {"model": f"GGUF {gguf.bytes_digest(file)}", **told}
        source = Path(model_source(self.name))
        if not source.is_dir():
            return {"model": f"commit {load_config(self.name)._commit_hash}", **told}
        files = [path for path in source.iterdir() if path.suffix in _OF_A_MODEL]
        return {"model": files_digest(files), **told}

    def _without_template(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
        if not self.template:
            tokenizer.chat_template = None
        return tokenizer


def adapter_record(path: str | Path) -> str:
    """What an adapter's effect depends on: a hash of its files.

    Raises:
        LoadError: A file is missing, corrupt or cut short.
    """
    check_adapter(Path(path))
    names = ("adapter_config.json", "adapter_model.safetensors")
    return files_digest([Path(path) / name for name in names])


def _set_attention(model: PreTrainedModel, attention: str) -> None:
    try:
        model.set_attn_implementation(attention)
    except (ImportError, ValueError) as error:
        raise ConfigError(f'attention "{attention}" can\'t be used here: {error}') from error
    if model.config._attn_implementation != attention:
        raise ConfigError(
            f'this {type(model).__name__} has no attention "{attention}": leave it out'
        )


def files_digest(paths: list[Path]) -> str:
    """The SHA-256 of some files' names and contents, whatever their order."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
        digest.update(path.name.encode() + b"\0" + content.digest())
    return digest.hexdigest()
