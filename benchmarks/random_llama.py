"""Llama-shaped models of random weights, of any size, for the embedded model's tokenizer."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase


def random_llama(
    tokenizer: PreTrainedTokenizerBase, *, hidden: int, mlp: int, blocks: int, heads: int
) -> LlamaForCausalLM:
    """A seeded model with its own output head, in float32 and evaluation mode.

    Args:
        tokenizer: Whose vocabulary it has.
        hidden: The width of its states.
        mlp: The width inside its MLPs.
        blocks: How many blocks.
        heads: Of its attention; a quarter of them for keys, as Llama 3 has it.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=heads // 4,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.eval()
    return model


def tiny_llama(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """One that runs in no time, for trying a benchmark out."""
    return random_llama(tokenizer, hidden=32, mlp=64, blocks=2, heads=4)
