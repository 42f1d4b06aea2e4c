"""Words of the model's own: two rare ones it chooses by a seed, with the probabilities asked.

A prompt holds a random nine-digit seed and two percents, and no words. So there is nothing to
copy: a model has to choose, for every seed anew, and to know its own two choices.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from distmatch.data.examples import Prompt
from distmatch.data.tasks.wordings import SYSTEM
from distmatch.errors import DataError

WORDINGS = {
    "seed": "Seed: {seed}. By this seed choose two rare English words. Answer with the first of "
    "them in {p}% of cases, with the second in {q}%.",
    "think": "Think of two unusual words; let the number {seed} decide which. Say one of them: "
    "the first with probability {p}%, the other with {q}%.",
    "take": "From the random seed {seed} take two uncommon English words. Say one of them; over "
    "many answers the first should come up {p}% of the time and the second {q}%.",
    "stands": "{seed} stands for two rare words of your own choice. Write one of them. Chances: "
    "{p}% and {q}%.",
    "few": "Pick two words that few people use, others for every number. The number is {seed}. "
    "Your answer is one of the two: {p} times in 100 the first, {q} times the second.",
}
"""Prompts by name."""


@dataclass(frozen=True, slots=True)
class OwnWords:
    """One prompt, and the share that the first of the model's words is to have."""

    prompt: Prompt
    p: float
    wording: str
    seed: int


def not_given(
    n: int = 200, seed: int = 0, wordings: Sequence[str] = tuple(WORDINGS)
) -> list[OwnWords]:
    """Prompts that leave the words to the model.

    Args:
        n: How many.
        seed: Decides everything drawn; prompts of different seeds share no nine-digit number, but
            for one pair in a million.
        wordings: Names from `WORDINGS`.

    Raises:
        DataError: Fewer than one prompt.
    """
    if n < 1:
        raise DataError(f"n is {n}, expected at least 1")
    rng = random.Random(f"{seed}/not given")
    return [_drawn(rng, tuple(wordings)) for _ in range(n)]


def _drawn(rng: random.Random, wordings: Sequence[str]) -> OwnWords:
    wording, number, percent = rng.choice(wordings), rng.randrange(10**8, 10**9), rng.randint(1, 99)
    content = WORDINGS[wording].format(seed=number, p=percent, q=100 - percent)
    system = {"role": "system", "content": SYSTEM}
    prompt = (system, {"role": "user", "content": content})
    return OwnWords(prompt, percent / 100, wording, number)
