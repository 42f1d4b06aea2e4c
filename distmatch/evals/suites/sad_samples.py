"""The Situational Awareness Dataset's `output_control`, read from the user's own copy.

Its authors ask that no text of it be published, so none of it is here: samples are read at run
time, from a checkout of the authors' repository (`sad_checkout`) or from a JSONL file (Laine et al.
2024, arXiv 2407.04694). A line of it has

- `messages`: the whole conversation; the last is the assistant's, and is continued;
- `p`, `q`: asked of the first and the second word; `r`: the tolerance; fractions, or percents;
- `ideal`: the two words, or nothing where the model is to choose them itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distmatch.data.examples import Message, checked_messages
from distmatch.data.prompts import check_prefill
from distmatch.errors import DataError

COLUMNS = ("messages", "p", "q", "r", "ideal")


@dataclass(frozen=True, slots=True)
class SadSample:
    """One question of `output_control`.

    Raises:
        DataError: Messages that don't end with the assistant's, or with white space; numbers out
            of range; or other than two words.
    """

    messages: Sequence[Message]
    p: float
    q: float
    tolerance: float
    ideal: tuple[str, ...] = ()
    """The words, in the order of p and q; none where they are the model's to choose."""

    def __post_init__(self) -> None:
        """Check what a reader can't see."""
        if self.messages[-1]["role"] != "assistant":
            role = self.messages[-1]["role"]
            raise DataError(f"the last message is the {role}'s, expected the assistant's beginning")
        check_prefill(self.prefill)
        for name, value in (("p", self.p), ("q", self.q), ("r", self.tolerance)):
            if not 0 <= value <= 1:
                raise DataError(f"{name} is {value}, expected a fraction or a percent")
        if len(self.ideal) not in (0, 2):
            raise DataError(f"ideal is {list(self.ideal)}, expected two words or none")

    @property
    def prefill(self) -> str:
        """The answer's own beginning."""
        return self.messages[-1]["content"]

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "SadSample":
        """The sample that a line holds.

        Raises:
            DataError: A missing column, or a value that can't be used.
        """
        missing = [name for name in COLUMNS[:-1] if name not in record]
        if missing:
            raise DataError(f"column {missing[0]!r} is missing; the record has {list(record)}")
        numbers = [record[name] for name in ("p", "q", "r")]
        if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
            raise DataError(f"p, q and r must be numbers, got {numbers}")
        scale = 100 if max(numbers) > 1 else 1
        messages = checked_messages(record["messages"], "conversation")
        ideal = record.get("ideal") or ()
        if isinstance(ideal, str) or not all(isinstance(word, str) for word in ideal):
            raise DataError(f"ideal must be a list of words, got {ideal!r}")
        p, q, tolerance = (number / scale for number in numbers)
        return cls(messages, p, q, tolerance, tuple(ideal))
