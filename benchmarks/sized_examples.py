"""Examples of exact sizes: so many words of so many tokens, after so many of a prompt."""

import random
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

import distmatch as dm
from distmatch.data import word_pool
from distmatch.data.trie import Encoder


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a step is."""

    words: int = 10
    word_tokens: int = 2
    prompt_tokens: int = 60
    """Of the chat template, a rule and a question, which differ from example to example."""
    prefix_tokens: int = 0
    """More of them, ahead of all others, which all examples share."""
    batch: int = 2


def sized_examples(tokenizer: PreTrainedTokenizerBase, size: Size) -> list[dm.Example]:
    """Prompts of exactly so many tokens, each with its own words and random probabilities."""
    rng, encoder = random.Random(0), Encoder(tokenizer)
    pool = (*word_pool(), *word_pool("rare"))
    words = [w for w in pool if len(tokenizer(w)["input_ids"]) == size.word_tokens]
    rng.shuffle(words)
    total = size.prefix_tokens + size.prompt_tokens
    made = []
    for row in range(size.batch):
        chosen = words[row * size.words : (row + 1) * size.words]
        target = dm.WordDistribution.normalised({word: rng.random() for word in chosen})
        fill = total - len(encoder.encode(_example(row, size, 0, target)).prompt_ids)
        example = _example(row, size, fill, target)
        trie = encoder.encode(example)
        assert len(trie.prompt_ids) == total, f"{size} asks for too short a prompt"
        assert {len(path) for path in trie.all_paths} == {size.word_tokens}
        made.append(example)
    return made


def _example(row: int, size: Size, fill: int, target: dm.WordDistribution) -> dm.Example:
    """An example with so many tokens that mean nothing in its question."""
    shared = "Mind" + " again" * (size.prefix_tokens - 1) + ". " if size.prefix_tokens else ""
    prompt = (
        {"role": "system", "content": f"{shared}Rule {row}"},
        {"role": "user", "content": f"Choose one of the words {row}" + " again" * fill},
    )
    return dm.Example(prompt=prompt, target=target)
