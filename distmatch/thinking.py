"""What a reasoning model thinks before it answers, sampled and put into the prompt.

The answer's probabilities depend on the thoughts before it, so a model that will be used thinking
is trained and measured behind its own thoughts.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn
from tqdm.auto import tqdm
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

    Thoughts that were there are replaced. Each rotation of an example gets its own. Randomness
    comes from torch's global generator.

    Args:
        model: A model with a generation head, adapted or not; its mode is restored afterwards.
        tokenizer: Its tokenizer, whose chat template writes `thinking`.
        examples: Their `chat_template_kwargs` say how much is to be thought.
        max_tokens: Where a thought is cut off.
        batch_size: Prompts that are thought about at once.
        progress: With a progress bar.

    Raises:
        DataError: Prompts that aren't messages, or a template without thinking.
    """
    asked = [
        (example, prompt) for example in examples for prompt in (example.prompt, *example.rotations)
    ]
    thoughts: list[str] = []
    starts = tqdm(
        range(0, len(asked), batch_size), desc="thinking", leave=False, disable=not progress
    )
    for start in starts:
        batch = asked[start : start + batch_size]
        thoughts += _thoughts(model, tokenizer, batch, max_tokens)
    answered = (
        _with_thought(prompt, thought) for (_, prompt), thought in zip(asked, thoughts, strict=True)
    )
    return [
        replace(
            example,
            prompt=next(answered),
            rotations=tuple(next(answered) for _ in example.rotations),
        )
        for example in examples
    ]


def _thoughts(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[tuple[Example, Prompt]],
    max_tokens: int,
) -> list[str]:
    slots = [
        thinking_slot(tokenizer, prompt, example.chat_template_kwargs) for example, prompt in asked
    ]
    return tokenizer.batch_decode(
        [list(ids) for ids in sample_tokens(model, tokenizer, slots, max_tokens)]
    )


def _with_thought(prompt: Prompt, thought: str) -> Prompt:
    messages, begun = without_thinking(prompt)
    return (*messages, {"role": "assistant", "thinking": thought, "content": begun})
