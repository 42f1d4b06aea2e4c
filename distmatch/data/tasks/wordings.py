"""What output control prompts say: wordings, and ways to write probabilities.

A prompt is a wording (`WORDINGS`) filled with words and numbers in some phrasing (`PHRASINGS`); the
numbers come in the words' order or stand next to their words.
"""

from dataclasses import dataclass
from typing import NamedTuple

from distmatch.data.tasks.numbering import numbers_of

SYSTEM = "Give only the answer."
"""The system message of every task that has one."""

WORDINGS = {
    "pick": "Pick one: {quoted}. Chances: {numbers}.",
    "say": "Say {quoted_or}, {numbers}.",
    "pairs": "Answer with one of these: {quoted_pairs}.",
    "brackets": "Write one word: {quoted_brackets}.",
    "with": "Answer {quoted_with}.",
    "colons": "{{{colons}}} Draw one.",
    "shown": "Options: {quoted_brackets}. Your answer:",
    "question": "Which one, {quoted_or}? Decide by chance: {numbers}.",
    "respectively": "Output {quoted_or} with probability {numbers}, respectively.",
    "generator": "You are a random generator. Outcomes: {quoted}. Probabilities: {numbers}.",
    "lines": "Draw one answer.\n{lines}",
    "table": "| answer | probability |\n{table}",
    "code": "sample([{quoted}], weights=[{numbers}])",
    "ordinals": "Choose from {quoted}: {ordinals}.",
    "distribution": "Distribution over {words}: {numbers}. Your sample:",
    "repeated": "{words}? {pairs}. Name one.",
    "numbers_first": "With chances {numbers}, reply {words_or}.",
    "shares": "I will ask often. Answer {words_or}; in the long run their shares are {numbers}.",
    "polite": "Could you please give me {words_or} at random? The probabilities are {numbers}.",
    "explained": "Your reply is a random draw: exactly one of {words}, and nothing else. Over many "
    "draws they should come up like this: {pairs}.",
    "bare": "{words}: {numbers}",
    "ahead": "Choose: {ahead}.",
    "ahead_these": "Answer with one of these: {ahead}.",
    "ahead_or": "Say {ahead_or}.",
    "ahead_brackets": "{ahead_brackets}? Draw one.",
    "ahead_lines": "Options:\n{ahead_lines}\nYour answer:",
}
"""Prompts by name; each takes any number of words and any phrasing.

A word in quotation marks, or at the start of a line, usually has the same tokens in the prompt as
in the answer; after a space it often hasn't, so a model must learn to spell it as well.
"""

AHEAD_WORDINGS = tuple(name for name in WORDINGS if name.startswith("ahead"))
"""Each number right before its word in quotation marks: learned soonest by far.

A causal model has then read the number when it reads the word, so the word's own states can carry
how probable it is to be.
"""


class Style(NamedTuple):
    """One way to write probabilities."""

    alone: str
    """A number that stands next to its word."""
    listed: str | None = None
    """A number in a list of them, where that differs."""
    between: str = ", "
    """What stands between the numbers of a list."""


PHRASINGS = {
    "percent": (Style("{percent}%"), Style("{percent} %"), Style("{percent} percent")),
    "decimal": (Style("{decimal:g}"),),
    "fraction": (Style("{numerator}/{denominator}"), Style("{percent}/100")),
    "odds": (Style("{weight}x", "{weight}", " to "), Style("{weight}x", "{weight}", " : ")),
    "cases": (
        Style("{count} in {total}"),
        Style("{count} of {total} times"),
        Style("in {count} cases of {total}", "{count} cases of {total}"),
    ),
}
"""Styles by the name of their phrasing; every row draws one."""

_ORDINALS = ("first", "second", "third", "fourth", "fifth")


@dataclass(frozen=True, slots=True)
class Frame:
    """A prompt's content but for its numbers."""

    words: tuple[str, ...]
    wording: str
    phrasing: str
    style: Style
    multiple: int
    """How many times larger than need be the counts of "in N cases of M" are."""

    def content(self, percents: tuple[int, ...]) -> str:
        """The whole content; a template takes of these fields what it needs."""
        words = self.words
        numbers = self._numbers(self.style.alone, percents)
        quoted = [f'"{word}"' for word in words]
        both = list(zip(words, numbers, strict=True))
        ahead = [f'{number} "{word}"' for word, number in both]
        return WORDINGS[self.wording].format(
            words=", ".join(words),
            words_or=f"{', '.join(words[:-1])} or {words[-1]}",
            quoted=", ".join(quoted),
            quoted_or=f"{', '.join(quoted[:-1])} or {quoted[-1]}",
            quoted_pairs=", ".join(map(" ".join, zip(quoted, numbers, strict=True))),
            numbers=self.style.between.join(
                self._numbers(self.style.listed or self.style.alone, percents)
            ),
            pairs=", ".join(f"{word} {number}" for word, number in both),
            quoted_brackets=", ".join(f'"{word}" ({number})' for word, number in both),
            quoted_with=" or ".join(f'"{word}" with chance {number}' for word, number in both),
            ahead=", ".join(ahead),
            ahead_or=" or ".join(ahead),
            ahead_brackets=" or ".join(f'({number}) "{word}"' for word, number in both),
            ahead_lines="\n".join(f'{number}: "{word}"' for word, number in both),
            colons=", ".join(f'"{word}": {number}' for word, number in both),
            lines="\n".join(f"{word}: {number}" for word, number in both),
            table="\n".join(f"| {word} | {number} |" for word, number in both),
            ordinals=", ".join(f"{i} {x}" for i, x in zip(_ORDINALS, numbers, strict=False)),
        )

    def _numbers(self, pattern: str, percents: tuple[int, ...]) -> list[str]:
        return [pattern.format(**number) for number in numbers_of(percents, self.multiple)]
