"""Subjects made by hand: what each kind of probe must find in them."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from distmatch.data.examples import Prompt
from distmatch.evals import Capability, FunctionSubject
from distmatch.evals.subject import Written

NUMBER = re.compile(r"-?\d+")
OPTION = re.compile(r"^([A-Z])\) (.+)$", re.MULTILINE)


def saying(number, spread=0.0):
    """One that says a number to anything; if spread, half each side."""

    def probs_of(example):
        words = example.target.words
        wanted = {number - spread, number + spread}
        return [(int(word) in wanted) / len(wanted) for word in words]

    return FunctionSubject(probs_of=probs_of)


def preferring(word, prob=0.9):
    """One that says a word to anything that allows it."""

    def probs_of(example):
        words = example.target.words
        rest = (1 - prob) / max(len(words) - 1, 1)
        return [prob if w == word else rest for w in words]

    return FunctionSubject(probs_of=probs_of)


def asking(example):
    """The text a subject is asked."""
    return example.prompt[-1]["content"]


@dataclass(frozen=True, kw_only=True)
class Writer(FunctionSubject):
    """One that also writes: to a prompt what a function says."""

    writes: Callable[[Prompt], str]

    @property
    def capabilities(self):
        return super().capabilities | {Capability.WRITING}

    def write(self, prompts, max_tokens, is_enough, name):
        return [Written(prompt, self.writes(prompt), (), is_cut=False) for prompt in prompts]


def choosing(example, share_of):
    """Probabilities of letters, with or without a bracket, by what stands behind them."""
    options = dict(OPTION.findall(asking(example)))
    return [share_of(options[word]) if word in options else 0.0 for word in example.target.words]
