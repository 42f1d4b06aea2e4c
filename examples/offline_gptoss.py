"""gpt-oss without its weights: the true tokenizer and architecture, random numbers, no download.

For trying the whole way offline (`train_gptoss.py --tiny`). The vocabulary comes with the package
`quicktok-v1` (extra `offline`); the chat template here writes what gpt-oss's own does for system,
developer, user and assistant messages, and no tools.
"""

import functools
import importlib.util
import struct
import tempfile
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GptOssConfig,
    PreTrainedTokenizerFast,
)
from transformers.convert_slow_tokenizer import TikTokenConverter, bytes_to_unicode

from distmatch.models import save_packed

GPT_OSS_20B = GptOssConfig(num_hidden_layers=24, num_local_experts=32)
"""Its size; what isn't given is as in gpt-oss-120b."""

# How o200k cuts text before it merges bytes (tiktoken, openai_public.py)
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = "|".join(
    [
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

HARMONY = """\
<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.
Knowledge cutoff: 2024-06
Current date: {{ strftime_now("%Y-%m-%d") }}

Reasoning: {{ reasoning_effort or "medium" }}

# Valid channels: analysis, commentary, final. Channel must be included for every message.<|end|>
{%- for message in messages %}
    {%- if message.role == "user" %}
        {{- "<|start|>user<|message|>" ~ message.content ~ "<|end|>" }}
    {%- elif message.role != "assistant" %}
        {%- if not loop.first %}
            {{- raise_exception("instructions come first") }}
        {%- endif %}
        {{- "<|start|>developer<|message|># Instructions\n\n" ~ message.content ~ "\n\n<|end|>" }}
    {%- else %}
        {%- set is_answer = loop.last and not add_generation_prompt %}
        {%- if is_answer and "thinking" in message %}
            {{- "<|start|>assistant<|channel|>analysis<|message|>" ~ message.thinking ~ "<|end|>" }}
        {%- endif %}
        {{- "<|start|>assistant<|channel|>final<|message|>" ~ message.content }}
        {{- "<|return|>" if is_answer else "<|end|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|start|>assistant" }}
{%- endif %}"""


@functools.cache
def harmony_tokenizer() -> PreTrainedTokenizerFast:
    """gpt-oss's tokenizer, all 201,088 ids of it; takes some ten seconds, the first time."""
    tokenizer = bundled_tokenizer("o200k", "o200k_harmony", O200K)
    tokenizer.eos_token, tokenizer.pad_token = "<|return|>", "<|endoftext|>"
    tokenizer.bos_token = "<|startoftext|>"
    tokenizer.chat_template = HARMONY
    return tokenizer


def bundled_tokenizer(vocabulary: str, special: str, pattern: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer from a vocabulary that comes with quicktok.

    Args:
        vocabulary: The file with its merges, without ending.
        special: The file with its special tokens.
        pattern: How text is cut before bytes are merged.
    """
    package = importlib.util.find_spec("quicktok")
    if package is None or package.origin is None:
        raise SystemExit("this needs quicktok-v1: pip install distmatch[offline]")
    data = Path(package.origin).parent / "data"
    ranks = _ranks((data / f"{vocabulary}.vocab").read_bytes())
    by_id = _special_tokens((data / f"{special}.special").read_bytes())
    # The library numbers special tokens one after the other, so gaps are filled
    names = [by_id.get(i, f"<|unused_{i}|>") for i in range(len(ranks), max(by_id) + 1)]
    converter = _Converter(pattern=pattern, extra_special_tokens=names)
    converter.ranks = ranks
    return PreTrainedTokenizerFast(tokenizer_object=converter.converted())


def tiny_checkpoint(directory: Path, seed: int = 0) -> None:
    """A small gpt-oss of random weights, published as the large ones are: MXFP4 and bfloat16.

    The folder is there whole or not at all; of several processes that make it the first one does.
    """
    config = GptOssConfig(
        num_hidden_layers=4,
        hidden_size=64,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_local_experts=4,
        num_experts_per_tok=2,
        initializer_range=0.2,  # so narrow a model could hardly move a logit from 0.02
        eos_token_id=200002,
        pad_token_id=199999,
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as part:
        made = Path(part) / "made"
        save_packed(model, made)
        GenerationConfig(eos_token_id=[200002, 199999, 200012]).save_pretrained(made)
        harmony_tokenizer().save_pretrained(made)
        try:
            made.rename(directory)
        except OSError:  # another process was first
            if not (directory / "tokenizer.json").is_file():
                raise


class _Converter(TikTokenConverter):
    """The library's converter, told the ranks in place of a file."""

    ranks: dict[bytes, int]

    def extract_vocab_merges_from_model(
        self, tiktoken_url: str
    ) -> tuple[dict[str, int], list[tuple[str, str]]]:
        """What theirs gives of these ranks, in a fraction of the time."""
        shown = {byte: ord(character) for byte, character in bytes_to_unicode().items()}
        ranks = {t.decode("latin-1").translate(shown): rank for t, rank in self.ranks.items()}
        merges = []
        for token in sorted(ranks, key=ranks.__getitem__):
            parts = [(token[:i], token[i:]) for i in range(1, len(token))]
            known = [part for part in parts if part[0] in ranks and part[1] in ranks]
            merges += sorted(known, key=lambda part: (ranks[part[0]], ranks[part[1]]))
        return ranks, merges


def _ranks(data: bytes) -> dict[bytes, int]:
    """A count, then for each token its length, bytes and rank."""
    ranks, place = {}, 4
    for _ in range(struct.unpack_from("<I", data)[0]):
        (length,) = struct.unpack_from("<H", data, place)
        token = data[place + 2 : place + 2 + length]
        (ranks[token],) = struct.unpack_from("<I", data, place + 2 + length)
        place += 6 + length
    return ranks


def _special_tokens(data: bytes) -> dict[int, str]:
    """A count, then for each token its id, length and text; the first of one id counts."""
    names: dict[int, str] = {}
    place = 4
    for _ in range(struct.unpack_from("<I", data)[0]):
        number, length = struct.unpack_from("<IH", data, place)
        names.setdefault(number, data[place + 6 : place + 6 + length].decode())
        place += 6 + length
    return names
