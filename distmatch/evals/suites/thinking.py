"""Thinking: does a model that thinks before it answers control its answer better, or worse?

The same questions are asked in several ways: of a model whose template has thoughts written,
without any, and thinking, at each reasoning effort it knows; of others, told to answer at once and
to think step by step first, both with the answer announced.
Thoughts are sampled at temperature 1. Behind each of them the answer's distribution is exact; what
somebody sees who asks often is their mean, and that is what is measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from distmatch.data.examples import Example, plain_prompt
from distmatch.data.prompts import ThinkingSlot, render_slot, special_ids, thinking_slot
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.templates import EFFORTS, can_switch_thinking, thought_frame
from distmatch.errors import ConfigError, DataError
from distmatch.evals.items import Answers
from distmatch.evals.mixtures import mixed
from distmatch.evals.subject import LocalModel
from distmatch.models.head import unwrapped
from distmatch.sampling import sample_tokens
from distmatch.thinking import with_thought

_NUM_QUESTIONS = 40
_NUM_THOUGHTS = 8
_MOST_TOKENS = 512  # of a thinking channel
_MOST_STEPWISE_TOKENS = 96
_ANSWER = "Answer:"
_AT_ONCE = f'Write "{_ANSWER}" and one of the words, no more.'
_STEPWISE = (
    f'Think step by step first, briefly. Then write "{_ANSWER}" and one of the words, no more.'
)
_HELLO = {"role": "user", "content": "Hello."}
_OTHER_THINKING = ("<think>", "reasoning_content")  # of templates that can't be understood


def _as_it_is(example: Example, thought: str = "") -> Example:
    return example


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of asking."""

    name: str
    ask: Callable[[Example], Example] = _as_it_is
    """The question in this way."""
    slot: Callable[[LocalModel, Example], ThinkingSlot] | None = None
    """Where the model begins to think; None: it doesn't."""
    most_tokens: int = 0
    """Where a thought is cut off."""
    end: str | None = None
    """The text that ends a thought, besides the special tokens that do."""
    behind: Callable[[Example, str], Example] = _as_it_is
    """The question with a thought before its answer."""


@dataclass(frozen=True, slots=True)
class Thought:
    """What was thought about a question before its answer."""

    text: str = ""
    num_tokens: int = 0
    is_cut: bool = False


def measure(subject: LocalModel) -> Answers:
    """The mixture of the model's answers to each question asked in each way."""
    questions = examples(subject.seed)
    asked = [
        (way, number, way.ask(q)) for way in ways(subject) for number, q in enumerate(questions)
    ]
    thoughts = _thoughts(subject, [(way, example) for way, _, example in asked])
    behind = [
        way.behind(example, thought.text)
        for (way, _, example), some in zip(asked, thoughts, strict=True)
        for thought in some
    ]
    each = subject.answers(behind, "thinking: answers")
    mixtures = mixed(each, [row for row, some in enumerate(thoughts) for _ in some])
    probs = iter(each.probs.tolist())
    ones = np.ones(len(asked))
    tokens = np.array([np.mean([thought.num_tokens for thought in some]) for some in thoughts])
    cut = np.array([np.mean([thought.is_cut for thought in some]) for some in thoughts])
    return replace(
        mixtures,
        ratios={**mixtures.ratios, "thought_tokens": (tokens, ones), "cut_off": (cut, ones)},
        metadata=tuple(
            {**example.metadata, "group": way.name, "question": number}
            for way, number, example in asked
        ),
        prompts=tuple(plain_prompt(example.prompt) for _, _, example in asked),
        clusters=tuple(f"question {number}" for _, number, _ in asked),
        said=tuple(
            {"thoughts": [{"thought": thought.text, "given": next(probs)} for thought in some]}
            for some in thoughts
        ),
    )


def examples(seed: int = 0) -> list[Example]:
    """The suite's questions: two given words, 40 times.

    Args:
        seed: Decides all that is drawn.
    """
    drawn = OutputControl(words=(2,)).draw(1, _NUM_QUESTIONS, seed, "thinking")[1]
    return [replace(example, rotations=()) for example in drawn]


def ways(subject: LocalModel) -> list[Way]:
    """The ways in which a model is asked.

    Raises:
        ConfigError: Its template writes thoughts in a way that isn't known.
    """
    tokenizer, template = subject.tokenizer, subject.tokenizer.chat_template or ""
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
        most_tokens=_MOST_STEPWISE_TOKENS,
        end=_ANSWER,
        behind=_announced,
    )
    return [
        Way(name="at once", ask=partial(_told, system=_AT_ONCE), behind=_announced),
        stepwise,
    ]


def _in_channel(name: str, told: dict[str, Any]) -> Way:
    return Way(
        name=name,
        ask=partial(replace, chat_template_kwargs=told),
        slot=_channel_slot,
        most_tokens=_MOST_TOKENS,
        behind=_thought,
    )


def _channel_slot(subject: LocalModel, example: Example) -> ThinkingSlot:
    return thinking_slot(subject.tokenizer, example.prompt, example.chat_template_kwargs)


def _thought(example: Example, thought: str) -> Example:
    return replace(example, prompt=with_thought(example.prompt, thought))


def _told(example: Example, system: str) -> Example:
    """The question with another system message."""
    assert not isinstance(example.prompt, str)
    return replace(example, prompt=({"role": "system", "content": system}, example.prompt[-1]))


def _answer_slot(subject: LocalModel, example: Example) -> ThinkingSlot:
    ids = render_slot(subject.tokenizer, example.prompt).ids
    return ThinkingSlot(ids, special_ids(subject.tokenizer))


def _announced(example: Example, thought: str) -> Example:
    """The question after a thought, with the answer announced whether or not the model did."""
    begun = f"{thought}\n{_ANSWER}" if thought else _ANSWER
    return replace(example, prompt=(*example.prompt, {"role": "assistant", "content": begun}))


def _thoughts(subject: LocalModel, asked: Sequence[tuple[Way, Example]]) -> list[list[Thought]]:
    """About each question: 8, or one that is empty where nothing is thought."""
    thoughts: list[list[Thought]] = [[] if way.slot else [Thought()] for way, _ in asked]
    device = unwrapped(subject.model).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(subject.seed)
        for way in dict.fromkeys(way for way, _ in asked if way.slot):
            rows = [row for row, (other, _) in enumerate(asked) if other == way]
            slots = [way.slot(subject, asked[row][1]) for row in rows]  # type: ignore[misc]
            written = _written(subject, way, [s for s in slots for _ in range(_NUM_THOUGHTS)])
            for place, thought in enumerate(written):
                thoughts[rows[place // _NUM_THOUGHTS]].append(thought)
    return thoughts


def _written(subject: LocalModel, way: Way, slots: Sequence[ThinkingSlot]) -> list[Thought]:
    tokenizer = subject.tokenizer
    written = sample_tokens(
        subject.model,
        [slot.ids for slot in slots],
        frozenset[int]().union(*(slot.ends for slot in slots)),
        max_tokens=way.most_tokens,
        batch_size=subject.batch_size,
        progress=f"thinking: {way.name}" if subject.progress else None,
    )
    thoughts = []
    for slot, tokens in zip(slots, written, strict=True):
        (whole,) = tokenizer.batch_decode([list(tokens)], clean_up_tokenization_spaces=False)
        text, ended, _ = whole.partition(way.end or "\0")
        up_to_end = tokenizer(text, add_special_tokens=False)["input_ids"] if ended else tokens
        is_cut = not ended and len(tokens) >= way.most_tokens
        thought = text.strip() if way.end else slot.thought(text)
        thoughts.append(Thought(thought, len(up_to_end), is_cut))
    return thoughts
