"""What probabilities of whole percents may be written as."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

MOST_SPELLED = 20
"""The largest total that is spelled out."""

_SPELLED = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty"),
)


def numbers_of(percents: Sequence[int], multiple: int = 1) -> list[dict[str, Any]]:
    """Each of a prompt's probabilities, by what it is written as.

    Args:
        percents: Positive, of sum 100.
        multiple: How many times larger than need be `count` and `total` are, if the total stays
            at 100 or below.

    Example:
        >>> first, _ = numbers_of((30, 70))
        >>> "{count} in {total}, {said} in {said_total}".format(**first)
        '3 in 10, three in ten'
    """
    shared = math.gcd(*percents)
    lowest = 100 // shared
    multiple = multiple if lowest * multiple <= 100 else 1
    return [
        {
            "percent": percent,
            "decimal": percent / 100,
            "numerator": Fraction(percent, 100).numerator,
            "denominator": Fraction(percent, 100).denominator,
            "weight": percent // shared,
            "count": percent // shared * multiple,
            "total": lowest * multiple,
            "times": "time" if percent // shared * multiple == 1 else "times",
            "said": _SPELLED[percent // shared] if lowest <= MOST_SPELLED else None,
            "said_total": _SPELLED[lowest] if lowest <= MOST_SPELLED else None,
        }
        for percent in percents
    ]
