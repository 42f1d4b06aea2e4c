"""What a reasoning model thinks before it answers, sampled and put into the prompt.

The answer's probabilities depend on the thoughts before it, so a model that will be used thinking
is trained and measured behind its own thoughts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import Example, Prompt
from distmatch.data.prompts import thinking_slot, without_thinking
from distmatch.sampling import sample_tokens


def sample_thinking(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    *,
    max_tokens: int = 512,
    batch_size: int = 16,
    progress: bool = True,
) -> list[Example]:
    """The examples with a thought of the model's before each answer, at temperature 1.

    A thought is put into the prompt as text and tokenised again there. One that is cut off, or
    ended without the line break that the template writes there, ends as the template writes it.
    Thoughts that were there are replaced. Each rotation of an example gets its own. Randomness
    comes from torch's global generator.

    Args:
        model: A model with a generation head, adapted or not; its mode is restored afterwards.
        tokenizer: Its tokenizer, whose chat template has thoughts written.
        examples: Their `chat_template_kwargs` say how much is to be thought.
        max_tokens: Where a thought is cut off.
        batch_size: Prompts that are thought about at once.
        progress: With a progress bar.

    Raises:
        DataError: Prompts that aren't messages, or a template without thinking.
    """
    texts = iter(
        sample_thoughts(
            model,
            tokenizer,
            [
                (prompt, example.chat_template_kwargs)
                for example in examples
                for prompt in (example.prompt, *example.rotations)
            ],
            max_tokens=max_tokens,
            batch_size=batch_size,
            progress=progress,
        )
    )
    return [
        replace(
            example,
            prompt=with_thought(example.prompt, next(texts)),
            rotations=tuple(with_thought(prompt, next(texts)) for prompt in example.rotations),
        )
        for example in examples
    ]


def sample_thoughts(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[tuple[Prompt, Mapping[str, Any]]],
    *,
    max_tokens: int = 512,
    batch_size: int = 16,
    progress: bool = True,
) -> list[str]:
    """A thought about each of several prompts, at temperature 1.

    Args:
        model: A model with a generation head, adapted or not; its mode is restored afterwards.
        tokenizer: Its tokenizer, whose chat template has thoughts written.
        asked: Prompts, and what the template is told besides of each.
        max_tokens: Where a thought is cut off.
        batch_size: Prompts that are thought about at once.
        progress: With a progress bar.

    Raises:
        DataError: Prompts that aren't messages, or a template without thinking.
    """
    slots = [thinking_slot(tokenizer, prompt, told) for prompt, told in asked]
    written = sample_tokens(
        model,
        [slot.ids for slot in slots],
        frozenset[int]().union(*(slot.ends for slot in slots)),
        max_tokens=max_tokens,
        batch_size=batch_size,
        progress="thinking" if progress else None,
    )
    decoded = tokenizer.batch_decode(
        [list(tokens) for tokens in written], clean_up_tokenization_spaces=False
    )
    return [slot.thought(text) for slot, text in zip(slots, decoded, strict=True)]


def with_thought(prompt: Prompt, thought: str) -> Prompt:
    """The prompt with a thought before the answer; one that was there is replaced.

    Raises:
        DataError: A prompt that isn't messages.
    """
    messages, begun = without_thinking(prompt)
    return (*messages, {"role": "assistant", "thinking": thought, "content": begun})
