"""Multiple-choice questions of the user's own, read at run time from a JSONL file.

Such as those of the Situational Awareness Dataset, whose text may not be published. A line has

- `messages`: the whole conversation; a last one of the assistant's is continued;
- `choices`: two texts or more, of which one is the answer's beginning, written just so;
- `answer`: the right one;
- `task`: optional, the group that it is reported in;
- `boundary`: optional, what must follow a choice, as in an `Example`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distmatch.data.examples import BOUNDARIES, Message, checked_messages
from distmatch.data.prompts import check_prefill, continues_word
from distmatch.errors import DataError, unknown_name

REQUIRED_COLUMNS = ("messages", "choices", "answer")
COLUMNS = (*REQUIRED_COLUMNS, "task", "boundary")


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """A multiple-choice question.

    Raises:
        DataError: Fewer than two choices, empty or repeated ones, or such as begin or end in white
            space; an answer that isn't one of them; an unknown boundary; or a begun answer that
            ends in white space.
    """

    messages: Sequence[Message]
    choices: tuple[str, ...]
    answer: str
    task: str = "choices"
    boundary: str = "end_of_word"

    def __post_init__(self) -> None:
        """Check what a reader can't see."""
        if self.messages[-1]["role"] == "assistant":
            check_prefill(self.messages[-1]["content"])
        if len(self.choices) < 2:
            raise DataError(f"choices are {list(self.choices)}, expected two or more")
        for choice in self.choices:
            if choice != choice.strip() or not choice:
                raise DataError(
                    f"choice {choice!r} is empty, or begins or ends in white space: remove it; "
                    "choices are joined by a space where one belongs"
                )
        if len(set(self.choices)) < len(self.choices):
            raise DataError(f"choices {list(self.choices)} repeat one: give each once")
        if self.answer not in self.choices:
            raise DataError(f"answer is {self.answer!r}, expected one of {list(self.choices)}")
        if self.boundary not in BOUNDARIES:
            raise DataError(unknown_name("boundary", self.boundary, BOUNDARIES))

    @property
    def words(self) -> tuple[str, ...]:
        """What of each choice is scored: all, or up to the last letter or digit.

        Under `end_of_word` "(A)" is scored as "(A", since tokenizers join a bracket to the line
        break or full stop behind it; unless the beginning of one is then another's.
        """
        begun = tuple(_up_to_last_letter(choice) for choice in self.choices)
        is_told_apart = all(begun) and not any(
            first.startswith(second)
            for row, first in enumerate(begun)
            for column, second in enumerate(begun)
            if row != column
        )
        return begun if self.boundary == "end_of_word" and is_told_apart else self.choices

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ChoiceQuestion":
        """The question that a line holds.

        Raises:
            DataError: A missing or unknown column, or a value that can't be used.
        """
        for column in record:
            if column not in COLUMNS:
                raise DataError(unknown_name("column", column, COLUMNS))
        given = {name: value for name, value in record.items() if value is not None}
        missing = [name for name in REQUIRED_COLUMNS if name not in given]
        if missing:
            raise DataError(f"column {missing[0]!r} is missing; the record has {list(record)}")
        messages = checked_messages(given.pop("messages"), "conversation")
        choices = given.pop("choices")
        if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices):
            raise DataError(f"choices must be a list of texts, got {choices!r}")
        for name, value in given.items():
            if not isinstance(value, str) or not value:
                raise DataError(f"{name} must be a text, got {value!r}")
        return cls(messages, tuple(choices), **given)


def _up_to_last_letter(choice: str) -> str:
    while choice and not continues_word(choice[-1]):
        choice = choice[:-1]
    return choice
