"""What a chat template writes: messages as text, and what stands around a thought.

Templates are told apart by what they render, not by their names. A template that writes today's
date is given `TODAY`, or the same prompt would be another one tomorrow.
"""

import datetime
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase

from distmatch.errors import DataError, unknown_name

TODAY = datetime.date(2025, 8, 5)
"""What every prompt says the date is: the day gpt-oss came out."""

SENTINEL = "SLOT"
"""Stands for the answer while the template's own text around it is read off."""

EFFORTS = ("low", "medium", "high")
"""The reasoning efforts that Harmony's template knows; others' may know more."""

_logger = logging.getLogger(__name__)
_HARMONY = ("<|channel|>", "reasoning_effort")
_SYSTEM = "WHAT-THE-SYSTEM-SAYS"
_TAKES_SYSTEM: dict[str, bool] = {}  # by template
_WRITTEN: set[tuple[object, ...]] = set()  # templates, and messages of which they write all
_SAID: set[str] = set()  # templates of which it was said what they leave out
_THOUGHT = "THOUGHT-BEFORE-THE-ANSWER"
_NAMES = ("thinking", "reasoning_content")  # of the thought in a message: Harmony's, Qwen3's
_DATE_SIGNS = (*"aAwdbBmyYHIMSfpjUWGuVcxX", "-d", "-m", "-H", "-I", "-M", "e", "%")
_BEGUN, _END = "<think>\n", "</think>"
_ENDED = f"\n{_END}\n\n"  # what models write where the template doesn't say
_EMPTY = re.compile(rf"{_BEGUN}(\n{_END}\s*)\Z")


@dataclass(frozen=True, slots=True)
class ThoughtFrame:
    """What stands around the thought before an answer."""

    before: str
    """The prompt, up to where the thought begins."""
    after: str
    """From the thought's end on, up to the answer slot."""

    @property
    def is_plain(self) -> bool:
        """Whether no thought is written as an empty one, thought and answer sharing a message.

        Else each has a header of its own, as in Harmony.
        """
        return self.after.lstrip().startswith(_END)


def thought_frame(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    answer: Mapping[str, str],
    template_kwargs: Mapping[str, Any],
) -> ThoughtFrame:
    r"""How the chat template has a thought written before the answer to some messages.

    Most templates write the thought that a message holds. Others leave it to the model: they write
    an empty one where `enable_thinking` is false, begin one in the generation prompt, or cut what
    is before `</think>` out of a message, as those of DeepSeek-R1's distillations do. There a
    thought is between `<think>\n` and what ends the empty one, or `\n</think>\n\n`.

    Args:
        tokenizer: With a chat template.
        messages: Before the answer.
        answer: The assistant's message, as far as its content is begun.
        template_kwargs: What the template is told besides.

    Raises:
        DataError: The template does none of this, or thinking is switched off.
    """
    opened = rendered(tokenizer, messages, template_kwargs, add_generation_prompt=True)
    for name in _NAMES:
        whole = {**answer, name: _THOUGHT, "content": answer["content"] + SENTINEL}
        text = rendered(tokenizer, [*messages, whole], template_kwargs, add_generation_prompt=False)
        before, _, rest = text.rpartition(_THOUGHT)
        if before and before.startswith(opened) and SENTINEL in rest:
            return ThoughtFrame(before, rest[: rest.rindex(SENTINEL)])
    if opened.rstrip().endswith(_END):
        raise DataError(
            f"the chat template opens an answer with {opened[-40:]!r}, where thinking is over: "
            'leave the thought out, or tell the template "enable_thinking": true'
        )
    told = {**template_kwargs, "enable_thinking": False}
    off = rendered(tokenizer, messages, told, add_generation_prompt=True)
    if empty := _EMPTY.search(off):
        ended = empty[1]
    elif opened.endswith(_BEGUN) or _cuts_thoughts(tokenizer, messages, template_kwargs):
        ended = _ENDED
    else:
        raise DataError('the chat template writes no "thinking" before an answer: leave it out')
    before = opened if opened.endswith(_BEGUN) else opened + _BEGUN
    return ThoughtFrame(before, ended + answer["content"])


def fitted(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]
) -> list[Mapping[str, str]]:
    """The messages as the chat template takes them.

    Where it refuses a system message, or leaves it out, that stands before the user's behind it.

    Args:
        tokenizer: With a chat template.
        messages: Before the answer.

    Raises:
        DataError: No user's message is behind one that would have to stand before it.
    """
    fitting: list[Mapping[str, str]] = []
    for message in reversed(messages):
        if message["role"] != "system" or takes_system(tokenizer):
            fitting.append(message)
        elif fitting and fitting[-1]["role"] == "user":
            content = f"{message['content']}\n\n{fitting[-1]['content']}"
            fitting[-1] = {**fitting[-1], "content": content}
        else:
            raise DataError(
                f"the chat template takes no system message, and behind "
                f"{message['content'][:40]!r} is no user's that it could be put before: add one, "
                "or leave the system message out"
            )
    return fitting[::-1]


def check_written(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    template_kwargs: Mapping[str, Any],
) -> None:
    """Refuse messages of whose contents the chat template leaves one out, or changes it.

    Templates forget roles without a word. Each content is written as a marker of its own, fitted as
    the messages themselves are, and looked for. Thoughts of earlier turns may be left out, as
    models are trained without them; that is said once.

    Args:
        tokenizer: With a chat template.
        messages: Before the answer; those without content may be left out.
        template_kwargs: What the template is told besides.

    Raises:
        DataError: Names the message's role and place.
    """
    kinds = tuple((m["role"], *sorted(k for k in m if m[k]), _says(m)) for m in messages)
    key = (str(tokenizer.chat_template), kinds, repr(sorted(template_kwargs.items())))
    if key in _WRITTEN:
        return
    fitted(tokenizer, messages)  # whose errors show what is really said
    marks = [f"Said-{number}-Here" if _says(m) else "" for number, m in enumerate(messages)]
    thoughts = [f"Thought-{number}-Here" for number in range(len(messages))]
    marked = [
        {**m, "content": mark or m["content"], **{n: thought for n in _NAMES if m.get(n)}}
        for m, mark, thought in zip(messages, marks, thoughts, strict=True)
    ]
    text = rendered(
        tokenizer, fitted(tokenizer, marked), template_kwargs, add_generation_prompt=True
    )
    for number, (message, mark) in enumerate(zip(messages, marks, strict=True), start=1):
        if mark not in text:
            what = "changes" if mark.lower() in text.lower() else "leaves out"
            raise DataError(
                f'the chat template {what} what the message of role "{message["role"]}" in place '
                f"{number} of {len(messages)} says ({message['content'][:40]!r}): give it another "
                "role, or give the rendered prompt as plain text instead"
            )
    thought = [t for m, t in zip(messages, thoughts, strict=True) if any(map(m.get, _NAMES))]
    if key[0] not in _SAID and any(mark not in text for mark in thought):
        _SAID.add(key[0])
        _logger.warning("the chat template leaves out what was thought in earlier turns")
    _WRITTEN.add(key)


def _says(message: Mapping[str, str]) -> bool:
    return bool(message["content"].strip())


def takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template writes what a system message says."""
    template = str(tokenizer.chat_template)
    if template not in _TAKES_SYSTEM:
        _TAKES_SYSTEM[template] = _writes_system(tokenizer)
    return _TAKES_SYSTEM[template]


def opens_thought(opened: str, answered: str) -> bool:
    """Whether a generation prompt begins a thought that isn't in an answer as it is written.

    Args:
        opened: Messages with a generation prompt.
        answered: The same with an answer.
    """
    return opened.endswith(_BEGUN) and not answered.startswith(opened)


def can_switch_thinking(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether `enable_thinking` changes what the chat template has an answer begin with."""
    question = [{"role": "user", "content": "question"}]
    off, on = (
        rendered(tokenizer, question, {"enable_thinking": is_on}, add_generation_prompt=True)
        for is_on in (False, True)
    )
    return off != on


def rendered(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    template_kwargs: Mapping[str, Any],
    *,
    add_generation_prompt: bool,
) -> str:
    """Messages as the chat template writes them.

    Args:
        tokenizer: With a chat template.
        messages: All of them.
        template_kwargs: What the template is told besides.
        add_generation_prompt: Whether to end in what an answer is opened with.

    Raises:
        DataError: The template refuses the messages, or doesn't know the reasoning effort.
    """
    _check_effort(str(tokenizer.chat_template), template_kwargs.get("reasoning_effort"))
    try:
        return str(
            tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                chat_template=_on_that_day(tokenizer.get_chat_template()),
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **template_kwargs,
            )
        )
    except Exception as error:
        roles = [message.get("role") for message in messages]
        raise DataError(
            f"the chat template refuses messages with roles {roles}: {error}"
        ) from error


def _check_effort(template: str, effort: Any) -> None:
    """Refuse what Harmony's template would write although the model never learned what it means."""
    is_harmony = all(sign in template for sign in _HARMONY)
    if is_harmony and effort is not None and effort not in EFFORTS:
        told = unknown_name("reasoning_effort", str(effort), EFFORTS)
        raise DataError(f"the chat template is Harmony's: {told}")


def _writes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    user = {"role": "user", "content": "question"}
    system = {"role": "system", "content": _SYSTEM}
    try:
        return _SYSTEM in rendered(tokenizer, [system, user], {}, add_generation_prompt=True)
    except DataError:
        pass
    try:
        rendered(tokenizer, [user], {}, add_generation_prompt=True)
    except DataError:  # so it isn't the system message that is refused
        return True
    return False


def _cuts_thoughts(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    template_kwargs: Mapping[str, Any],
) -> bool:
    """Whether the template leaves out what a message says before `</think>`."""
    whole = {"role": "assistant", "content": f"{_THOUGHT}{_END}{SENTINEL}"}
    text = rendered(tokenizer, [*messages, whole], template_kwargs, add_generation_prompt=False)
    return SENTINEL in text and _THOUGHT not in text


@lru_cache(maxsize=8)
def _on_that_day(template: str) -> str:
    """The template behind a macro in place of what gives it the current date, in any format.

    The expression behind the macro keeps Jinja from trimming a line break the template begins with.
    """
    if "strftime_now" not in template:
        return template
    parts = "".join(
        f" | replace({f'%{sign}'!r}, {TODAY.strftime(f'%{sign}')!r})" for sign in _DATE_SIGNS
    )
    macro = f"{{% macro strftime_now(format) %}}{{{{ format{parts} }}}}{{% endmacro %}}{{{{ '' }}}}"
    return macro + template
