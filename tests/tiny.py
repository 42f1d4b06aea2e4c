"""Random models of the true architectures and a true byte-level tokenizer, made in memory."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    DeepseekV2Config,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

VOCAB_SIZE = 320
"""Rows of a tiny model's vocabulary: a few more than the tokenizer's, as real models pad."""

TOKENIZER_SIZE = 300
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_NO_HEAD_DIM = {key: value for key, value in _SHAPE.items() if key != "head_dim"}
_WINDOW: dict[str, Any] = {"sliding_window": 8}
_ALL_HEADS: dict[str, Any] = {"num_key_value_heads": 4}
_LLAMA3: dict[str, Any] = {
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
}
_DEEPSEEK_CODER: dict[str, Any] = {
    **_ALL_HEADS,
    "rope_parameters": {"rope_type": "linear", "rope_theta": 100000.0, "factor": 4.0},
}
_DEEPSEEK_V2: dict[str, Any] = {
    **_ALL_HEADS,
    "first_k_dense_replace": 1,
    "q_lora_rank": None,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 4,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}
_GEMMA2: dict[str, Any] = {
    **_WINDOW,
    "query_pre_attn_scalar": 16,
    "attn_logit_softcapping": 5.0,
    "final_logit_softcapping": 3.0,
}
_GEMMA3: dict[str, Any] = {
    **_WINDOW,
    "query_pre_attn_scalar": 16,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}
_GPT_OSS: dict[str, Any] = {
    **_WINDOW,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 150000.0,
        "factor": 32.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
        "original_max_position_embeddings": 16,
    },
}
_GPT2: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "n_embd": 48,
    "n_inner": 96,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_CONFIGS: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "llama": (LlamaConfig, _SHAPE),
    "llama2": (LlamaConfig, _SHAPE | _ALL_HEADS),
    "llama3": (LlamaConfig, _SHAPE | _LLAMA3),
    "deepseek_coder": (LlamaConfig, _SHAPE | _DEEPSEEK_CODER),
    "deepseek_v2": (
        DeepseekV2Config,
        _NO_HEAD_DIM | _DEEPSEEK_V2,
    ),
    "qwen2": (Qwen2Config, _NO_HEAD_DIM),
    "qwen3": (Qwen3Config, _SHAPE),
    "mistral": (MistralConfig, _SHAPE | _WINDOW),
    "gemma": (GemmaConfig, _SHAPE),
    "gemma2": (Gemma2Config, _SHAPE | _GEMMA2),
    "gemma3": (Gemma3TextConfig, _SHAPE | _GEMMA3),
    "gpt2": (GPT2Config, _GPT2),
    "gpt_oss": (GptOssConfig, _SHAPE | _GPT_OSS),
}
_EXTRA_STD = 0.2

FAMILIES = tuple(_CONFIGS)


def tiny_model(
    family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **config_overrides: Any
) -> PreTrainedModel:
    """A seeded random model of the family: 4 blocks, 4 heads (2 for keys), in eval mode.

    Weights are drawn wide enough (standard deviation 0.2) that attention, windows and soft-caps
    change the logits visibly, and biases, sinks and norms are drawn too, so that none is 0 or 1.

    Args:
        family: One of `FAMILIES`.
        seed: Of the weights; torch's global generator is left as it was.
        dtype: Of every parameter.
        config_overrides: Fields of the family's own config, such as `sliding_window=4`.
    """
    config_class, settings = _CONFIGS[family]
    config = config_class(**(settings | config_overrides))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        _randomise(model)
    return model.eval()


def randomise_adapter(model: torch.nn.Module, std: float) -> None:
    """Draw the half of an adapter's weights that begin as zero, so that it changes what is said."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=std)


def _randomise(model: PreTrainedModel) -> None:
    """Noise on every parameter: a fresh model's biases are 0 and its norms 1, hiding mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * _EXTRA_STD)


CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_HEAD = (
    "{%% for m in messages %%}{%% if m.role != 'assistant' %%}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{%% else %%}<|im_start|>assistant\n%s<|im_end|>\n{%% endif %%}{%% endfor %%}"
    "{%% if add_generation_prompt %%}<|im_start|>assistant\n%s{%% endif %%}"
)
_NO_THOUGHT = "<think>\n\n</think>\n\n"
_OFF = "{% if enable_thinking is false %}" + _NO_THOUGHT
_WRITTEN = (
    "{% if loop.last %}<think>\n{{ (m.reasoning_content or '').strip('\n') }}\n</think>\n\n"
    "{% endif %}{{ m.content }}"
)
_CUT = "{{ m.content.split('</think>')[-1] }}"

THINKING_TEMPLATES = {
    # Qwen3's
    "writes": _HEAD % (_WRITTEN, _OFF + "{% endif %}"),
    # Those of later Qwen models
    "begins": _HEAD % (_WRITTEN, _OFF + "{% else %}<think>\n{% endif %}"),
    "off by itself": _HEAD
    % (_WRITTEN, "{% if enable_thinking %}<think>\n{% else %}" + _NO_THOUGHT + "{% endif %}"),
    # DeepSeek-R1's distillations', new and old
    "cuts": _HEAD % (_CUT, "<think>\n"),
    "cuts, begins nothing": _HEAD % (_CUT, ""),
    # SmolLM3's, with a single line break
    "left with a switch": _HEAD
    % (_OFF[:-1] + "{% endif %}{{ m.content }}", _OFF[:-1] + "{% endif %}"),
}
"""How templates have thoughts written between `<think>` and `</think>`, and whose do so."""

_TEXT = (
    "Answer with one of the words red, blue, green, cat, dog, fox or otter. "
    "Say red with probability 70 and blue with probability 30. "
    "The red fox and the red cat saw a dog; the dog saw a cat, and then the fox. "
    "Pick a word: red or blue, cat or dog. The cat and the dog and the red fox. "
    "red\nblue\ncat\ndog\nred\nblue\ncat\ndog\nred\nblue\nuser\nassistant\nuser\nassistant"
)


def tiny_tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any text encodes, common words are one token, others many.

    `red`, `blue`, `cat` and `dog` are one token, with a space before them another; `otter` and
    `green` take several. The first ids are `SPECIAL_TOKENS`, in order.

    Args:
        chat: With a ChatML template and `<|im_end|>` for end of text; without, a base model's
            tokenizer whose end of text is `<|endoftext|>`.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENIZER_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>" if chat else "<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        clean_up_tokenization_spaces=False,
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def thinking_tokenizer(style: str) -> PreTrainedTokenizerFast:
    """`tiny_tokenizer` with one of `THINKING_TEMPLATES`, and tokens for `<think>` and its end."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])  # not special, as in the published vocabularies
    tokenizer.chat_template = THINKING_TEMPLATES[style]
    return tokenizer
