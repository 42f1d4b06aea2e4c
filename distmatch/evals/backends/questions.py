"""What is asked of an endpoint: a prompt, and how each word may be written behind it.

There is no tokenizer, so words are texts here: every way to cut a text into tokens counts, while
a local score counts the canonical one alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from distmatch.data.examples import Example, Message, Prompt
from distmatch.data.prompts import (
    Slot,
    check_prefill,
    continues_word,
    is_spaceless,
    joined,
    joined_messages,
    without_thinking,
)
from distmatch.errors import DataError
from distmatch.evals.backends.replies import PIECE

ENDS = frozenset(
    {
        *("", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>", "<|endoftext|>"),
        *("<|end_of_text|>", "</s>", "<eos>", "<end_of_turn>", "<｜end▁of▁sentence｜>"),
        *("<|eot|>", "<|END_OF_TURN_TOKEN|>", "[|endofturn|]", "<turn|>"),
    }
)
"""How endpoints write the tokens that end a turn; where an answer ended, `replies` leaves them no
text."""

_KEPT = frozenset({"role", "content", "name"})  # of a message that is continued


class AnswerPlace(NamedTuple):
    """Where an answer is asked for, as an endpoint is told it."""

    slot: Slot
    """Its text is what stands right before the words: of a chat only what of the answer is written
    already."""
    messages: tuple[Message, ...] | None
    """Before the answer; None: text is to be continued."""
    told: Mapping[str, Any]
    """What a chat template is told besides."""

    @classmethod
    def of(
        cls,
        prompt: Prompt,
        prefill: str = "",
        told: Mapping[str, Any] | None = None,
        *,
        as_text: bool,
    ) -> "AnswerPlace":
        """The place that a prompt asks at.

        Args:
            prompt: Text or messages.
            prefill: Text the answer already begins with.
            told: What a chat template is told besides the messages.
            as_text: Whether messages are joined by blank lines, as for a model without a template.

        Raises:
            DataError: What such an endpoint can't be asked.
        """
        told = told or {}
        if isinstance(prompt, str):
            check_prefill(prefill)
            messages, slot = None, Slot(prompt + prefill, (), None, is_chat=False)
        else:
            before, begun = _parted(prompt)
            begun += prefill
            check_prefill(begun)
            messages = None if as_text else tuple(before)
            text = joined_messages(before, begun) if as_text else begun
            slot = Slot(text, (), None if begun else "", is_chat=not as_text)
        if messages is None and not as_text:
            raise DataError(
                "the prompt is plain text, which a chat endpoint can't continue: give messages, "
                'or take api="completions"'
            )
        if as_text and told:
            raise DataError(
                f"chat_template_kwargs are {dict(told)}, but completions have no chat template: "
                'leave them out, or take api="chat"'
            )
        return cls(slot, messages, told)

    def keeps(self, answer: str) -> bool:
        """Whether what follows a beginning of the answer can be asked for.

        Many chat templates trim a message, which would ask at another place.
        """
        written = self.slot.text + answer
        return self.messages is None or written == written.strip()

    @property
    def is_begun(self) -> bool:
        """Whether a message of the assistant's is to be continued."""
        return self.messages is not None and bool(self.slot.text)

    def body(self, answer: str = "") -> dict[str, Any]:
        """The part of a request's body that asks for what follows a beginning of the answer."""
        written = self.slot.text + answer
        if self.messages is None:
            return {"prompt": written}
        told = {"chat_template_kwargs": dict(self.told)} if self.told else {}
        messages = [dict(message) for message in self.messages]
        if not written:
            return {"messages": messages, **told}
        # The last two are vLLM's; others continue a last message of the assistant's by themselves
        return {
            "messages": [*messages, {"role": "assistant", "content": written}],
            "add_generation_prompt": False,
            "continue_final_message": True,
            **told,
        }


@dataclass(frozen=True)
class WordQuestion:
    """A place, and the texts that count as words there."""

    place: AnswerPlace
    spellings: Mapping[str, int]
    """Every text that counts as a word, and as which."""
    num_words: int
    boundary: str

    @classmethod
    def of(cls, example: Example, *, as_text: bool) -> "WordQuestion":
        """The question that an example asks; the end of a word completes it unless it says more.

        Raises:
            DataError: Words that can't be told apart, or what an endpoint can't be asked.
        """
        told, words = example.chat_template_kwargs, example.target.words
        place = AnswerPlace.of(example.prompt, example.prefill, told, as_text=as_text)
        boundary = example.boundary or "end_of_word"
        if boundary == "none":
            raise DataError(
                'boundary is "none", which is about tokens, and an endpoint shows texts: give '
                '"end_of_word" or "end_of_turn"'
            )
        spellings = _spellings(place.slot, words, example.forms)
        if boundary == "end_of_word":
            _check_ends(words, spellings)
        return cls(place, spellings, len(words), boundary)

    def open_words(self, text: str) -> list[int]:
        """The words that an answer which begins so may still become."""
        return sorted(
            {word for spelling, word in self.spellings.items() if spelling.startswith(text)}
        )

    def completed(self, text: str, token: str) -> int | None:
        """The word that is complete when this token follows this text; None: none is."""
        if token in ENDS:
            return self.spellings.get(text)
        return self.begun_with(text + token)

    def begun_with(self, text: str) -> int | None:
        """The word that a text begins with, its end included; None: none."""
        if self.boundary == "end_of_turn":
            return None
        for spelling, word in self.spellings.items():
            rest = text.removeprefix(spelling)
            if rest and rest != text and not continues_word(rest):
                return word
        return None

    def answered(self, answer: str, *, is_whole: bool) -> int | None:
        """The word that an answer is, or begins with; None: none is complete."""
        word = self.spellings.get(answer) if is_whole else None
        return self.begun_with(answer) if word is None else word

    def cut_words(self, text: str) -> list[int]:
        """The words that a text may still become which ends within a character."""
        whole, piece, _ = text.partition(PIECE)
        if not piece:
            return []
        return sorted(
            {
                word
                for spelling, word in self.spellings.items()
                if spelling.startswith(whole) and not spelling[len(whole) :][:1].isascii()
            }
        )

    @property
    def longest(self) -> int:
        """The most tokens that a word and what ends it may take: no token is less than a byte."""
        return max(len(text.encode()) for text in self.spellings) + 1


def _parted(prompt: Sequence[Message]) -> tuple[list[Message], str]:
    """The messages before the answer, and what of the answer is written already."""
    lost = sorted(prompt[-1].keys() - _KEPT) if prompt[-1]["role"] == "assistant" else []
    if lost:
        raise DataError(
            f"the answer is begun by a message that holds {' and '.join(lost)}, and an endpoint "
            "continues content alone: leave them out"
        )
    return without_thinking(prompt)


def _spellings(slot: Slot, words: Sequence[str], forms: Sequence[str]) -> dict[str, int]:
    spellings: dict[str, int] = {}
    for number, word in enumerate(words):
        for form in forms or (None,):
            other = words[spellings.setdefault(joined(slot, word, form), number)]
            if other != word:
                raise DataError(
                    f'"{other}" and "{word}" are the same text in one of their forms: merge them '
                    "or ask for fewer forms"
                )
    return spellings


def _check_ends(words: tuple[str, ...], spellings: Mapping[str, int]) -> None:
    for word in words:
        if is_spaceless(word[-1]):
            raise DataError(
                f'"{word}" ends in a script without spaces between words, where end_of_word has '
                'no meaning: give boundary="end_of_turn"'
            )
    for short, first in spellings.items():
        for long, second in spellings.items():
            rest = long.removeprefix(short)
            if first != second and rest and rest != long and not continues_word(rest):
                raise DataError(
                    f'"{words[second]}" is "{words[first]}" followed by the end of a word, so '
                    'under end_of_word one contains the other: give boundary="end_of_turn"'
                )
