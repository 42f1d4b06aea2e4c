"""Ways of asking a model that may think before it answers.

Of a model whose template has thoughts written: without any, and thinking, at each reasoning effort
it knows; of others: told to answer at once and to think step by step first, both with the answer
announced.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import Example
from distmatch.data.prompts import ThinkingSlot, render_slot, special_ids, thinking_slot
from distmatch.data.templates import EFFORTS, can_switch_thinking, thought_frame
from distmatch.errors import ConfigError, DataError
from distmatch.thinking import with_thought

_ANSWER = "Answer:"
_AT_ONCE = f'Write "{_ANSWER}" and one of the words, no more.'
_STEPWISE = (
    f'Think step by step first, briefly. Then write "{_ANSWER}" and one of the words, no more.'
)
_HELLO = {"role": "user", "content": "Hello."}
_OTHER_THINKING = ("<think>", "reasoning_content")  # of templates that can't be understood


@dataclass(frozen=True, slots=True)
class Thought:
    """What was thought about a question before its answer."""

    text: str = ""
    num_tokens: int = 0
    is_cut: bool = False


def _as_it_is(example: Example, thought: str = "") -> Example:
    return example


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of asking."""

    name: str
    ask: Callable[[Example], Example] = _as_it_is
    """The question in this way."""
    slot: Callable[[PreTrainedTokenizerBase, Example], ThinkingSlot] | None = None
    """Where the model begins to think; None: it doesn't."""
    end: str | None = None
    """The text that ends a thought in plain words; None: special tokens do, in a channel."""
    behind: Callable[[Example, str], Example] = _as_it_is
    """The question with a thought before its answer."""


def ways_of_asking(tokenizer: PreTrainedTokenizerBase) -> list[Way]:
    """The ways in which a model of this tokenizer can be asked.

    Raises:
        ConfigError: Its template writes thoughts in a way that isn't known.
    """
    template = tokenizer.chat_template or ""
    switched = bool(template) and can_switch_thinking(tokenizer)
    on, off = ({"enable_thinking": is_on} if switched else {} for is_on in (True, False))
    try:
        thinking_slot(tokenizer, (_HELLO,), on)
    except DataError as error:
        if any(sign in template for sign in _OTHER_THINKING):
            raise ConfigError(
                f"the chat template writes thoughts in a way that isn't known ({error}): "
                "leave the suite thinking out"
            ) from error
        return _told_ways()
    answer = {"role": "assistant", "content": ""}
    is_plain = thought_frame(tokenizer, [_HELLO], answer, on).is_plain
    none = Way(
        name="none",
        ask=partial(replace, chat_template_kwargs=off),
        behind=_thought if is_plain and not switched else _as_it_is,
    )
    if "reasoning_effort" not in template:
        return [none, _in_channel("thinking", on)]
    return [none, *(_in_channel(effort, on | {"reasoning_effort": effort}) for effort in EFFORTS)]


def _told_ways() -> list[Way]:
    """Of a model whose template has no thoughts written."""
    stepwise = Way(
        name="step by step",
        ask=partial(_told, system=_STEPWISE),
        slot=_answer_slot,
        end=_ANSWER,
        behind=_announced,
    )
    return [Way(name="at once", ask=partial(_told, system=_AT_ONCE), behind=_announced), stepwise]


def _in_channel(name: str, told: dict[str, Any]) -> Way:
    return Way(
        name=name,
        ask=partial(replace, chat_template_kwargs=told),
        slot=_channel_slot,
        behind=_thought,
    )


def _channel_slot(tokenizer: PreTrainedTokenizerBase, example: Example) -> ThinkingSlot:
    return thinking_slot(tokenizer, example.prompt, example.chat_template_kwargs)


def _thought(example: Example, thought: str) -> Example:
    return replace(example, prompt=with_thought(example.prompt, thought))


def _told(example: Example, system: str) -> Example:
    """The question with another system message."""
    assert not isinstance(example.prompt, str)
    return replace(example, prompt=({"role": "system", "content": system}, example.prompt[-1]))


def _answer_slot(tokenizer: PreTrainedTokenizerBase, example: Example) -> ThinkingSlot:
    return ThinkingSlot(render_slot(tokenizer, example.prompt).ids, special_ids(tokenizer))


def _announced(example: Example, thought: str) -> Example:
    """The question after a thought, with the answer announced whether or not the model did."""
    begun = f"{thought}\n{_ANSWER}" if thought else _ANSWER
    return replace(example, prompt=(*example.prompt, {"role": "assistant", "content": begun}))
