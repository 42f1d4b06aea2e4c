"""A file's tokenizer as `tokenizer.json`: byte-level BPE, or SentencePiece's BPE.

Both are built from the vocabulary as it lies in the file. transformers' own reading of it leaves
out how some models cut text before merging, such as SmolLM's digits.
"""

from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers.convert_slow_tokenizer import generate_merges

from distmatch.errors import LoadError, unknown_name
from distmatch.files import write_json
from distmatch.models.gguf.stored import Gguf

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4  # llama.cpp's kinds of tokens
_SPACE = "▁"
_SENTENCEPIECE_IDS = {"bos": 1, "eos": 2, "unk": 0}  # where a file doesn't say
_SPELLED = {"pad": "padding", "unk": "unknown"}
# What ends a turn is seldom among the metadata: llama.cpp knows these by their names as well
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<EOT>")
_HARMONY_ENDS = ("<|return|>", "<|call|>")  # where they are, <|end|> only ends a message
# What ends a text is an end as well in these models' published configs, and a file has one eos
_TEXT_ENDS = {
    **dict.fromkeys(("qwen2", "qwen3", "phi3", "gpt-oss"), "<|endoftext|>"),
    **dict.fromkeys(("gemma", "gemma2", "gemma3"), "<eos>"),
    "llama": "<|end_of_text|>",
}

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _by_letters(digits: str) -> str:
    return (
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*{_SPACES}"
    )


def _by_case(digits: str, suffix: str) -> str:
    return (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{suffix}"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{suffix}"
        rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_SPACES}"
    )


_LLAMA3 = _by_letters(r"\p{N}{1,3}")
_QWEN2 = _by_letters(r"\p{N}")
_O200K = _by_case(r"\p{N}{1,3}", f"{_CONTRACTIONS}?")
_DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")
_SPLITS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "dbrx", "smaug-bpe"), (_LLAMA3,)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), (_QWEN2,)),
    "gpt-4o": (_O200K,),
    "tekken": (_by_case(r"\p{N}", ""),),
    "deepseek-coder": _DEEPSEEK_CODER,
}
_GPT2 = ("gpt-2", "phi-2")
_GPT2_BY_DIGIT = ("smollm", "starcoder", "refact", "command-r")
_WHOLE_TOKENS = ("llama-bpe", "llama3", "llama-v3", "tekken")
"""Whose pieces that are tokens aren't merged; they also begin a text by themselves."""


def write_tokenizer(gguf: Gguf, directory: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, the chat template in it.

    Raises:
        LoadError: The file has no vocabulary, or one of a kind that isn't known.
    """
    tokens = _tokens(gguf)
    kind = gguf.metadata.get("tokenizer.ggml.model")
    builders = {"gpt2": _byte_level, "llama": _sentencepiece}
    if kind not in builders:
        raise LoadError(f"{gguf.path}: {unknown_name('kind of tokenizer', str(kind), builders)}")
    tokenizer = builders[kind](gguf)
    kinds = gguf.metadata.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
    own = [(token, kind) for token, kind in zip(tokens, kinds, strict=True) if token]
    special = [token for token, kind in own if kind in (_CONTROL, _UNKNOWN)]
    given = [token for token, kind in own if kind == _USER_DEFINED]
    strips = _strips(gguf)
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, rstrip=token in strips) for token in special]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in given])
    _frame(tokenizer, gguf)
    tokenizer.save(str(directory / "tokenizer.json"))
    write_json(directory / "tokenizer_config.json", _tokenizer_config(gguf))


def token_ids(gguf: Gguf) -> dict[str, Any]:
    """Of special tokens, as configs name them; every id that ends a turn is an `eos_token_id`."""
    ids: dict[str, Any] = {
        f"{name}_token_id": _token_id(gguf, name) for name in ("bos", "eos", "pad")
    }
    ends = sorted(_turn_ends(gguf) - {ids["eos_token_id"]})
    if ends:
        ids["eos_token_id"] = [id_ for id_ in (ids["eos_token_id"], *ends) if id_ is not None]
    return ids


def _turn_ends(gguf: Gguf) -> set[int]:
    tokens, kinds = _tokens(gguf), gguf.metadata.get("tokenizer.ggml.token_type")
    places = {token: id_ for id_, token in enumerate(tokens) if not kinds or kinds[id_] != _NORMAL}
    names: tuple[str, ...] = _TURN_ENDS
    if places.keys() >= set(_HARMONY_ENDS):
        names = (*(name for name in _TURN_ENDS if name != "<|end|>"), *_HARMONY_ENDS)
    names = (*names, _TEXT_ENDS.get(gguf.architecture, ""))
    told = {_token_id(gguf, name) for name in ("eot", "eom")}
    return {id_ for id_ in told if id_ is not None} | {places[n] for n in names if n in places}


def _token_id(gguf: Gguf, name: str) -> int | None:
    default = None
    if gguf.metadata.get("tokenizer.ggml.model") == "llama":
        default = _SENTENCEPIECE_IDS.get(name)
    found = gguf.metadata.get(f"tokenizer.ggml.{_SPELLED.get(name, name)}_token_id", default)
    return found if found is not None and found < len(_tokens(gguf)) else None


def _tokens(gguf: Gguf) -> list[str]:
    tokens = gguf.metadata.get("tokenizer.ggml.tokens")
    if not tokens:
        raise LoadError(
            f"{gguf.path} holds no vocabulary (tokenizer.ggml.tokens): convert it again with a "
            "current llama.cpp"
        )
    return tokens


def _byte_level(gguf: Gguf) -> Tokenizer:
    cut = gguf.metadata.get("tokenizer.ggml.pre")
    if cut is None and gguf.architecture == "gpt2":
        cut = "gpt-2"
    known = (*_GPT2, *_GPT2_BY_DIGIT, *_SPLITS)
    if cut not in known:
        named = unknown_name("way to cut text (tokenizer.ggml.pre)", str(cut), known)
        raise LoadError(
            f"{gguf.path}: {named} Take a newer conversion of the model; a tokenizer that cuts "
            "otherwise gives it texts it wasn't trained on"
        )
    told = gguf.metadata.get("tokenizer.ggml.merges")
    if told is None:
        raise LoadError(
            f"{gguf.path} lacks tokenizer.ggml.merges, without which nothing says how words are "
            "cut: convert it again with a current llama.cpp"
        )
    merges = [tuple(merge.split(" ")) for merge in told]
    vocabulary = {token: index for index, token in enumerate(_tokens(gguf))}
    ignoring = {"ignore_merges": True} if cut in _WHOLE_TOKENS else {}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, **ignoring))
    if cut in ("qwen2", "deepseek-r1-qwen"):
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _cutter(cut)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _cutter(cut: str) -> pre_tokenizers.PreTokenizer:
    if cut in _GPT2:
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if cut in _GPT2_BY_DIGIT:
        return pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in _SPLITS[cut]]
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([*splits, bytes_])


def _sentencepiece(gguf: Gguf) -> Tokenizer:
    """Pieces that join the better the higher the score of what they make."""
    tokens, scores = _tokens(gguf), gguf.metadata.get("tokenizer.ggml.scores")
    if scores is None:
        raise LoadError(
            f"{gguf.path} lacks tokenizer.ggml.scores, by which its pieces join: take another "
            "conversion of the model"
        )
    kinds = gguf.metadata.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
    pieces = {token: id_ for id_, token in enumerate(tokens) if kinds[id_] == _NORMAL}
    merges = generate_merges(pieces, {token: scores[id_] for token, id_ in pieces.items()})
    unknown = _token_id(gguf, "unk")
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: id_ for id_, token in enumerate(tokens)},
            merges=merges,
            unk_token=None if unknown is None else tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    begins = gguf.metadata.get("tokenizer.ggml.add_space_prefix", True)
    spaces = [*[normalizers.Prepend(_SPACE)] * begins, normalizers.Replace(" ", _SPACE)]
    tokenizer.normalizer = normalizers.Sequence(spaces)
    joined = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*joined, *([decoders.Strip(" ", 1, 0)] * begins)])
    return tokenizer


def _strips(gguf: Gguf) -> set[str]:
    """Special tokens that take the white space behind them: Phi-3's, all but the file's first."""
    if gguf.architecture != "phi3" or gguf.metadata.get("tokenizer.ggml.model") != "llama":
        return set()
    return set(_tokens(gguf)) - {"<unk>", "<s>", "<|endoftext|>"}


def _frame(tokenizer: Tokenizer, gguf: Gguf) -> None:
    """Let a text begin and end with the tokens the file says it does."""
    begins = gguf.metadata.get("tokenizer.ggml.model") == "llama"
    begins |= gguf.metadata.get("tokenizer.ggml.pre") in _WHOLE_TOKENS
    ids = {
        "bos": gguf.metadata.get("tokenizer.ggml.add_bos_token", begins),
        "eos": gguf.metadata.get("tokenizer.ggml.add_eos_token", False),
    }
    framing = {name: _token_id(gguf, name) for name, wanted in ids.items() if wanted}
    named = {name: _tokens(gguf)[id_] for name, id_ in framing.items() if id_ is not None}
    if not named:
        return
    first, last = ([named[name]] if name in named else [] for name in ("bos", "eos"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, *(f"{token}:1" for token in first), "$B:1", *last],
        special_tokens=[(token, framing[name]) for name, token in named.items()],
    )


def _tokenizer_config(gguf: Gguf) -> dict[str, Any]:
    tokens = _tokens(gguf)
    ids = {name: _token_id(gguf, name) for name in ("bos", "eos", "pad", "unk")}
    template = gguf.metadata.get("tokenizer.chat_template")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": gguf.needed("context_length"),
        "clean_up_tokenization_spaces": False,
        **({} if template is None else {"chat_template": template}),
        **{f"{name}_token": tokens[id_] for name, id_ in ids.items() if id_ is not None},
    }
