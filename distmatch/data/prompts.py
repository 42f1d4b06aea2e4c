"""Where the answer slot is: prompts rendered to text and ids, and what ends an answer there.

The prompt's ids are rendered alone, as `generate` would see them, and never change afterwards;
words are tokenised in that context (`trie.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import regex
from transformers import PreTrainedTokenizerBase

from distmatch.data.examples import Message, Prompt
from distmatch.data.templates import (
    SENTINEL,
    check_written,
    fitted,
    opens_thought,
    rendered,
    thought_frame,
)
from distmatch.errors import DataError

_FIELD = "FIELD-OF-THE-ANSWER"  # stands for what a message holds besides its content
_BLANK_LINE = "\n\n"
_OPENING = "([{<“‘«¿¡/-\\#@$"
_PAIRED = "\"'`*_"  # open and close alike
# UAX #29: what belongs to a word, or is passed over inside it (WB4), such as a non-joiner
_GOES_ON = regex.compile(
    r"[\p{L}\p{M}\p{N}\p{WB=ExtendNumLet}\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]"
)
# UAX #14: letters between any two of which a line may break, or wherever a dictionary says
_SPACELESS = regex.compile(
    r"[[\p{L}\p{M}]&&[\p{LB=SA}\p{LB=ID}\p{LB=CJ}\p{LB=AK}\p{LB=AP}\p{LB=AS}\p{Script=Tibetan}]]",
    regex.V1,
)


@dataclass(frozen=True, slots=True)
class Slot:
    """A rendered prompt up to its answer slot."""

    text: str
    ids: tuple[int, ...]
    joint: str | None
    """What stands between text and word: given by the template, or None where the word's writer
    decides (plain text, or after a prefill)."""
    is_chat: bool
    added: tuple[int, ...] = ()
    """The ids that the tokenizer puts before the text by itself; `ids` begin with them."""


@dataclass(frozen=True, slots=True)
class ThinkingSlot:
    """Where a model starts to think, and how that ends."""

    ids: tuple[int, ...]
    ends: frozenset[int]
    """Tokens that end a thought: the template's own, and every special one."""
    gap: str = ""
    """What the template writes between a thought and its end: a line break, or nothing."""

    def thought(self, text: str) -> str:
        """The thought that was written here, without the gap behind it."""
        return text.removesuffix(self.gap)


def render_slot(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    prefill: str = "",
    template_kwargs: Mapping[str, Any] | None = None,
) -> Slot:
    """The prompt as the model reads it, up to where the answer starts.

    A system message stands before the user's where the template takes none. What the last message
    was `thinking` is written as the template has models write it, also where the template's own
    name for it is another. Where a generation prompt begins to think and nothing is given, nothing
    is thought.

    Args:
        tokenizer: Its chat template is used for messages, if it has one; without one, messages
            are joined by blank lines.
        prompt: Plain text, or messages. A last message of the assistant is continued.
        prefill: Text the answer already begins with.
        template_kwargs: What the template is told besides the messages.

    Raises:
        DataError: The template refuses the messages, writes something else before an answer than
            its own generation prompt, or leaves out what the last message holds besides its
            content; or the prefill ends in white space.
    """
    if isinstance(prompt, str):
        text = prompt + prefill
        check_prefill(prefill)
        return _plain_slot(tokenizer, text)
    messages = [dict(message) for message in prompt]
    answer = {"role": "assistant", "content": ""}
    if messages[-1]["role"] == "assistant":
        answer = messages.pop()
        prefill = answer["content"] + prefill
    check_prefill(prefill)
    if getattr(tokenizer, "chat_template", None):
        check_written(tokenizer, messages, template_kwargs or {})
        answer["content"] = prefill
        return _chat_slot(tokenizer, fitted(tokenizer, messages), answer, template_kwargs or {})
    text = joined_messages(messages, prefill)
    if prefill:
        return _plain_slot(tokenizer, text)
    added = _added(tokenizer)
    ids = (*added, *_ids_before_a_word(tokenizer, text))
    return Slot(text, ids, "", is_chat=False, added=added)


def joined(slot: Slot, word: str, form: str | None) -> str:
    """The text that follows `slot.text` when the word is written in one of its forms."""
    if slot.is_chat:  # where white space around a word is a slip, and never what is meant
        word = word.strip()
    if form == "bare":
        return word
    if form == "space":
        return " " + word
    if form == "capital":
        word = word[:1].upper() + word[1:]
    if slot.joint is not None:
        return slot.joint + word
    return (" " if _takes_space(slot.text, word) else "") + word


def without_thinking(prompt: Prompt) -> tuple[list[Message], str]:
    """The messages before the answer, and what of the answer is written already.

    Raises:
        DataError: Plain text.
    """
    if isinstance(prompt, str):
        raise DataError("only messages can be thought about, got a prompt of plain text")
    messages = list(prompt)
    begun = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
    return messages, begun


def thinking_slot(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    template_kwargs: Mapping[str, Any] | None = None,
) -> ThinkingSlot:
    """The ids up to where a model starts to think, and what ends a thought.

    Args:
        tokenizer: Its chat template has thoughts written (`thought_frame`).
        prompt: Messages; an answer that is begun is left out.
        template_kwargs: What the template is told besides the messages.

    Raises:
        DataError: Plain text, or a template that has no thoughts written or ends them without a
            token of its own.
    """
    messages, _ = without_thinking(prompt)
    answer = {"role": "assistant", "content": ""}
    told = template_kwargs or {}
    check_written(tokenizer, messages, told)
    frame = thought_frame(tokenizer, fitted(tokenizer, messages), answer, told)
    end = frame.after.lstrip()
    ends = tokenizer(end, add_special_tokens=False)["input_ids"][:1]
    if not ends or ends[0] not in special_ids(tokenizer) | tokenizer.added_tokens_decoder.keys():
        raise DataError(
            f"the chat template ends thinking with {end[:20]!r}, which begins with no token of "
            "its own"
        )
    return ThinkingSlot(
        tuple(tokenizer(frame.before, add_special_tokens=False)["input_ids"]),
        special_ids(tokenizer) | {ends[0]},
        frame.after.removesuffix(end),
    )


def user_slot(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], str]:
    """The ids up to where a user's first message begins, and the text that the template ends it by.

    Args:
        tokenizer: With a chat template.

    Raises:
        DataError: No template, or one that writes contents in no way that they could be found by.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise DataError(
            "the tokenizer has no chat template, so nothing tells what a user says: give a file of "
            "chats in place of the model's own"
        )
    user = [{"role": "user", "content": SENTINEL}]
    text = rendered(tokenizer, user, {}, add_generation_prompt=True)
    before, found, after = text.rpartition(SENTINEL)
    if not found:
        raise DataError("the chat template doesn't write what a user's message says")
    return tuple(tokenizer(before, add_special_tokens=False)["input_ids"]), after


def end_of_turn_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The special tokens that end an assistant's message, sorted.

    The tokenizer's end of text, and the first special token the chat template writes after an
    assistant's message, both at the end of a conversation and before a next question.
    """
    ends = {tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set()
    question = {"role": "user", "content": "question"}
    found = (_end_of(tokenizer, rest) for rest in ([], [question]))
    return tuple(sorted(ends | {end for end in found if end is not None}))


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the template writes after the last answer, else the end of text."""
    end = _end_of(tokenizer, [])
    return tokenizer.eos_token_id if end is None else end


def _end_of(tokenizer: PreTrainedTokenizerBase, rest: Sequence[Message]) -> int | None:
    """The first special token after an answer that the rest follows; None where there is none."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    asked = {"role": "user", "content": "question"}
    answer = {"role": "assistant", "content": SENTINEL}
    text = rendered(tokenizer, [asked, answer, *rest], {}, add_generation_prompt=False)
    if SENTINEL not in text:  # it writes contents in no way that chats could be read by
        return None
    tail = text[text.rindex(SENTINEL) + len(SENTINEL) :]
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
    return next((i for i in ids if i in special_ids(tokenizer)), None)


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every special token's id, also of those without a named role such as end of text."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(tokenizer.all_special_ids) | {i for i, token in added if token.special}


def joined_messages(messages: Sequence[Message], begun: str) -> str:
    """Messages, and what of the answer is written already, as a model without a template has them.

    Args:
        messages: Before the answer.
        begun: If it is empty, the text ends in the blank line that the answer follows.
    """
    return _BLANK_LINE.join([*(message["content"] for message in messages), begun])


def check_prefill(prefill: str) -> None:
    """Refuse a beginning of an answer that no word can follow.

    Raises:
        DataError: It ends in white space.
    """
    if prefill != prefill.rstrip():
        raise DataError(
            f"the prefill {prefill!r} ends in white space, which no word can follow: most "
            "tokenizers write the space as part of the word. Remove it; words are joined by a space"
        )


def continues_word(text: str) -> bool:
    """Whether a token that decodes to this text can continue the word before it.

    Letters, marks, digits, joiners, an emoji's skin tone and pieces of characters can; white space,
    punctuation, other symbols and special tokens can't (Unicode's word boundaries, UAX #29).
    """
    return not text or text[0] == "\ufffd" or _GOES_ON.match(text) is not None


def is_spaceless(character: str) -> bool:
    """Whether the character belongs to a script that writes words without spaces between them."""
    return _SPACELESS.match(character) is not None


def _takes_space(text: str, word: str) -> bool:
    if not text or text[-1].isspace() or _opens(text) or is_spaceless(text[-1]):
        return False
    return not (word[0].isspace() or word[0] in ".,:;!?)]}%'’”»" or is_spaceless(word[0]))


def _opens(text: str) -> bool:
    """Whether a text ends in a sign that stands before a word: a bracket, an opening quote."""
    last = text[-1:]
    if not last or last not in _PAIRED:
        return last in _OPENING
    before = text.rstrip(last)
    if not before or before[-1].isspace() or _opens(before):
        return True
    if last in "\"'":
        return False
    line = text.rpartition("\n")[2]  # behind a letter, markup closes what was opened on its line
    return len(regex.findall(rf"{regex.escape(last)}+", line)) % 2 == 1


def _chat_slot(
    tokenizer: PreTrainedTokenizerBase,
    messages: list[Message],
    answer: dict[str, str],
    template_kwargs: Mapping[str, Any],
) -> Slot:
    """The slot behind the beginning of an answer, found as what the template writes before it."""
    prefill = answer["content"]
    thought = answer.pop("thinking", None)
    opened = rendered(tokenizer, messages, template_kwargs, add_generation_prompt=True)
    whole = {**answer, "content": prefill + SENTINEL}
    answered = rendered(tokenizer, [*messages, whole], template_kwargs, add_generation_prompt=False)
    if SENTINEL not in answered:
        raise DataError(
            "the chat template leaves out or changes what an answer says: give the rendered prompt "
            "as plain text instead"
        )
    before = answered[: answered.rindex(SENTINEL)]
    if thought is None and opens_thought(opened, answered):
        thought = ""
    if thought is not None:
        frame = thought_frame(tokenizer, messages, answer, template_kwargs)
        before = frame.before + thought + frame.after
    if not before.startswith(opened):
        raise DataError(
            f"the chat template opens an answer with {opened[-40:]!r} but writes one as "
            f"{before[-60:]!r}: give the rendered prompt as plain text instead"
        )
    if prefill and not before.endswith(prefill):
        raise DataError(f"the chat template changes the prefill {prefill!r} to {before[-60:]!r}")
    for name in answer.keys() - {"role", "content", "name"}:
        marked = [*messages, {**whole, name: _FIELD}]
        if _FIELD not in rendered(tokenizer, marked, template_kwargs, add_generation_prompt=False):
            raise DataError(
                f'the chat template leaves out the "{name}" of the answer it is to continue: '
                "name it as the template does, or give the rendered prompt as plain text instead"
            )
    text = before.rstrip(" ")
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    return Slot(text, ids, None if prefill else before[len(text) :], is_chat=True)


def _plain_slot(tokenizer: PreTrainedTokenizerBase, text: str) -> Slot:
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    added = _added(tokenizer)
    if ids[: len(added)] == added:  # they're written out
        added = ()
    return Slot(text, (*added, *ids), None, is_chat=False, added=added)


def _added(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What the tokenizer puts before plain text by itself, such as its begin of text."""
    alone = tokenizer("a", add_special_tokens=False)["input_ids"]
    ids = tokenizer("a")["input_ids"]
    places = (k for k in range(len(ids)) if ids[k : k + len(alone)] == alone)
    return tuple(ids[: next(places, 0)])


def _ids_before_a_word(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Ids of text that ends in line breaks, cut as they are when a word follows."""
    if not tokenizer.is_fast:  # which knows no offsets: what is alike with and without a word
        pair = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (text, text + "word"))
        return tuple(
            i for i, _ in takewhile(lambda ids: ids[0] == ids[1], zip(*pair, strict=False))
        )
    encoded = tokenizer(text + "word", add_special_tokens=False, return_offsets_mapping=True)
    pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return tuple(i for i, (_, end) in pairs if end <= len(text))
