"""Next tokens, or whole answers → bounds on the probability of each word and of other.

The search by next tokens is that of `losses.words`, over texts: at each beginning of a word the
next token goes on with it, completes it, or leaves the words for good. What an endpoint doesn't
show of a place, and places that can't be asked about, count for everything that may follow there.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distmatch.evals.backends.bounds import Bounds, clopper_pearson
from distmatch.evals.backends.questions import ENDS, WordQuestion
from distmatch.evals.backends.replies import Next, ReplyAnswer, begins_thought

LEAST = 1e-5
"""Beginnings less probable than this aren't followed."""

_ROUNDING = 1e-9


def followed(
    question: WordQuestion, after: Callable[[str], Next | None], least: float = LEAST
) -> Bounds:
    """Bounds by next tokens, from the empty answer down to every word's end.

    A thought may be followed by anything, so a token that begins one counts as not seen.

    Args:
        question: Whose words.
        after: What may follow a beginning of the answer; None where that can't be known.
        least: Beginnings less probable than this aren't asked about.
    """
    other = question.num_words
    low, high = np.zeros(other + 1), np.zeros(other + 1)
    unmeasured: list[dict[str, Any]] = []
    reached: dict[str, float] = defaultdict(float, {"": 1.0})
    while reached:
        text = min(reached, key=len)  # by then all ways to it have been added up
        mass = reached.pop(text)
        found = (after(text) if mass >= least else None) or Next((), 1.0)
        thoughts = [pair for pair in found.tokens if begins_thought(text + pair[0])]
        unseen = mass * (found.unseen + math.fsum(prob for _, prob in thoughts))
        high[[*question.open_words(text), other]] += unseen
        if unseen > _ROUNDING:
            unmeasured.append({"after": text, "probability": unseen})
        for token, prob in found.tokens:
            if (token, prob) in thoughts:
                continue
            following, part = text + token, mass * prob
            word = question.completed(text, token)
            if word is None and token not in ENDS and question.open_words(following):
                reached[following] += part
                continue
            cut = question.cut_words(following) if word is None else []
            if not cut:
                low[other if word is None else word] += part
            high[[*cut, other] if word is None else [word]] += part
    return Bounds.between(low, np.minimum(high, 1.0), tuple(unmeasured))


def sampled(question: WordQuestion, answers: Sequence[ReplyAnswer]) -> Bounds:
    """The exact interval for each word and for other, all of them right at once in 95 % of cases.

    The estimate is the share of answers. One that was cut where it may still become a word, or that
    shows a thought, counts for neither of them.

    Args:
        question: Whose words.
        answers: Drawn at temperature 1.
    """
    other, size = question.num_words, len(answers)
    counts, open_counts = np.zeros(other + 1, dtype=int), np.zeros(other + 1, dtype=int)
    for answer in answers:
        word = question.answered(answer.text, is_whole=answer.is_whole)
        may_become = [] if answer.is_whole else question.open_words(answer.text)
        if begins_thought(answer.text):
            may_become = list(range(other))
        if may_become:
            open_counts[[*may_become, other]] += 1
        else:
            counts[other if word is None else word] += 1
    together = len(counts)
    low = np.array([clopper_pearson(int(count), size, together)[0] for count in counts])
    high = np.array(
        [clopper_pearson(int(count), size, together)[1] for count in counts + open_counts]
    )
    cut = size - int(counts.sum())
    if cut:
        return Bounds.between(low, high, ({"after": "", "probability": cut / size},))
    return Bounds(low, high, counts / size)


def walked(answers: Sequence[ReplyAnswer], places: int = 1) -> Callable[[str], Next | None]:
    """What may follow each beginning that some answers went through.

    Where answers only ended, which endpoints don't show as a token, the share of them that did is
    known between bounds (Clopper & Pearson's, right for all places at once in 95 % of cases).

    Args:
        answers: Drawn at temperature 1, with the likeliest tokens of each place.
        places: At how many an end matters.
    """
    known: dict[str, Next] = {}
    ended: dict[str, int] = defaultdict(int)
    for answer in answers:
        text = ""
        for token, found in answer.steps or ():
            known.setdefault(text, found)
            text += token
        ended[text] += answer.is_whole
    for text, count in ended.items():
        if count and text not in known:
            share, _ = clopper_pearson(count, count, places)
            known[text] = Next((("", share),), 1 - share)
    return known.get
