"""What the user wants of one prompt: words, their probabilities, and what *other* should be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from distmatch.data.plain_values import as_list, checked_text
from distmatch.errors import DataError, shown

OtherRule = Literal["free", "preserve", "at_most"]
OTHER_RULES: tuple[OtherRule, ...] = ("free", "preserve", "at_most")

_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class WordDistribution:
    """Target probabilities of some words, checked when made.

    *Other* is everything that is none of the words. Its target is one of

    - a number: that much probability, so that words and other sum to 1;
    - `"free"`: no wish; the words are matched after renormalising over them;
    - `"preserve"`: what the words leave, `1 - sum(probs)`, in the shape the base model gives it;
    - `"at_most"`: `probs` are upper bounds. The target of each word is the smaller of its bound
      and its probability under the base model; the rest keeps the base's shape.

    Raises:
        DataError: No words, an empty or repeated word, lists of unequal length, a probability
            that is negative, above 1 or NaN, or a sum that doesn't fit `other`.

    Example:
        >>> WordDistribution(("red fox", "otter"), (0.7, 0.3)).other
        0.0
    """

    words: tuple[str, ...]
    probs: tuple[float, ...]
    other: float | OtherRule = 0.0

    def __post_init__(self) -> None:
        """Check everything that can be checked without a tokenizer."""
        object.__setattr__(self, "words", tuple(as_list(self.words)))
        object.__setattr__(self, "probs", tuple(map(as_list, as_list(self.probs))))
        object.__setattr__(self, "other", as_list(self.other))
        _check_words(self.words)
        _check_probs(self.words, self.probs)
        object.__setattr__(self, "probs", tuple(map(float, self.probs)))
        _check_sum(self.words, self.probs, self.other)

    @classmethod
    def normalised(
        cls, weights: Mapping[str, float], other: float | OtherRule = 0.0
    ) -> "WordDistribution":
        """Words in proportion to non-negative weights, scaled to sum to `1 - other`.

        Raises:
            DataError: The weights are all zero, or `other` is not a number or `"free"`.
        """
        total = math.fsum(weights.values())
        if not total > 0:
            raise DataError(
                f"the weights sum to {total}, so they can't be normalised: {shown(weights)}"
            )
        if isinstance(other, str) and other != "free":
            raise DataError(f'normalised() fits other = a number or "free", not "{other}"')
        mass = 1.0 if isinstance(other, str) else 1.0 - other
        return cls(tuple(weights), tuple(mass * w / total for w in weights.values()), other)

    @property
    def other_prob(self) -> float:
        """Target probability of other: 0 where it is free, NaN until `"at_most"` is resolved."""
        if self.other == "free":
            return 0.0
        if self.other == "preserve":
            return 1.0 - math.fsum(self.probs)
        return math.nan if isinstance(self.other, str) else float(self.other)


def _check_words(words: tuple[str, ...]) -> None:
    if not words:
        raise DataError("no words: give at least one word and its probability")
    for word in words:
        if not isinstance(word, str):
            raise DataError(f"words must be strings, got {word!r}")
        checked_text(word, f"the word {word!r}")
        if not word.strip():
            raise DataError(
                f"empty word {word!r} in {shown(list(words))}: remove it and its probability"
            )
    repeated = [word for word in dict.fromkeys(words) if words.count(word) > 1]
    if repeated:
        raise DataError(
            f"duplicate words {shown(repeated)} in {shown(list(words))}: merge them and add their "
            "probabilities"
        )


def _check_probs(words: tuple[str, ...], probs: tuple[float, ...]) -> None:
    if len(words) != len(probs):
        raise DataError(
            f"{len(words)} words but {len(probs)} probs: "
            f"{shown(list(words))} and {shown(list(probs))} must be parallel lists"
        )
    for word, prob in zip(words, probs, strict=True):
        if isinstance(prob, bool) or not isinstance(prob, Real):
            raise DataError(f'probability of "{word}" is {prob!r}, expected a number from 0 to 1')
        if prob > 1 + _SUM_TOLERANCE:
            raise DataError(
                f'probability of "{word}" is {prob}, more than 1: divide percentages by 100'
            )
        if prob < 0:
            raise DataError(f'probability of "{word}" is negative: {prob}, expected 0 to 1')
        if math.isnan(prob):
            raise DataError(f'probability of "{word}" is NaN, expected a number from 0 to 1')


def _check_sum(words: tuple[str, ...], probs: tuple[float, ...], other: float | OtherRule) -> None:
    given = shown(dict(zip(words, probs, strict=True)))
    if isinstance(other, str):
        if other not in OTHER_RULES:
            raise DataError(f'other is "{other}", expected a number or one of {OTHER_RULES}')
    elif isinstance(other, bool) or not isinstance(other, (int, float)) or not 0 <= other <= 1:
        raise DataError(f"other is {other!r}, expected a number from 0 to 1 or {OTHER_RULES}")
    total = math.fsum(probs)
    remedy = "Use WordDistribution.normalised(...) to rescale weights"
    if other == "at_most":
        return
    if other == "preserve":
        if total > 1 + _SUM_TOLERANCE:
            raise DataError(
                f"target probabilities sum to {total:g}, more than 1: {given}. {remedy}."
            )
        if total > 1 - _SUM_TOLERANCE:
            raise DataError(
                f"target probabilities sum to {total:g}, which leaves nothing to preserve: "
                f"{given}. Lower them, or set other to 0."
            )
        return
    wanted = 1.0 if other == "free" else 1.0 - float(other)
    if abs(total - wanted) > _SUM_TOLERANCE:
        clause = "" if isinstance(other, str) or other == 0 else f" with other = {other:g}"
        side = "more" if total > wanted else "less"
        give = ', or give the missing mass as other (a number or "preserve")'
        hint = "" if total > wanted else give
        raise DataError(
            f"target probabilities sum to {total:g}, {side} than {wanted:g}{clause}: {given}. "
            f"{remedy}{hint}."
        )
