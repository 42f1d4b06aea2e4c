"""Llama-shaped models of random weights, of any size."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

LLAMA_3_1_8B = {"vocab": 128256, "hidden": 4096, "mlp": 14336}
"""With 32 blocks; its head has 0.525 of its 8.03 billion parameters."""


def random_llama(*, vocab: int, hidden: int, mlp: int, blocks: int, heads: int) -> LlamaForCausalLM:
    """A seeded model with its own output head, in float32 and evaluation mode.

    Args:
        vocab: Rows of its vocabulary.
        hidden: The width of its states.
        mlp: The width inside its MLPs.
        blocks: How many blocks.
        heads: Of its attention; a quarter of them for keys, as in Llama 3.
    """
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=heads // 4,
        max_position_embeddings=4096,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.eval()
    return model


def tiny_llama(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """One that runs in no time, for trying a benchmark out on a true tokenizer."""
    model = random_llama(vocab=len(tokenizer), hidden=32, mlp=64, blocks=2, heads=4)
    for config in (model.config, model.generation_config):
        config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    return model


def scaled_llama(divisor: int, blocks: int = 32) -> LlamaForCausalLM:
    """Llama 3.1 8B with its widths and vocabulary divided: the head has the same share of it.

    With fewer blocks than its 32 the head has more.
    """
    shape = {name: size // divisor for name, size in LLAMA_3_1_8B.items()}
    return random_llama(**shape, blocks=blocks, heads=4)
