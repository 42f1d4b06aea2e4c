"""Answers to the same questions, as one: what somebody sees who asks many times."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from distmatch.evals.items import Answers
from distmatch.losses.words import WordLogProbs
from distmatch.measuring.metrics import Outcomes, metric_ratios, renormalised


def mixed(answers: Answers, questions: Sequence[Hashable]) -> Answers:
    """One answer a question: the mean of its distributions, with every metric of that.

    `spread` is how far, in TVD, the answers of a question lie from their mean on average: 0 if all
    are alike. There is no `swap_gap`, since nothing is asked with rotated numbers.

    Args:
        answers: In any order; those to a question have the same words and target, and none has a
            free other.
        questions: Which question each belongs to; they come in the order of their first answers.
    """
    numbers = {question: number for number, question in enumerate(dict.fromkeys(questions))}
    which = np.array([numbers[question] for question in questions])
    first = np.array([int(np.argmax(which == number)) for number in numbers.values()])
    counts = np.bincount(which)
    probs = np.zeros((len(numbers), answers.probs.shape[1]))
    np.add.at(probs, which, answers.probs)
    probs /= counts[:, None]
    distances = np.abs(answers.probs - probs[which]).sum(1) / 2
    asked = answers.subset(first.tolist())
    assert isinstance(asked, Answers)
    outcomes = _outcomes(probs, asked)
    given, _ = renormalised(outcomes)
    ratios = {
        name: (ratio.numerator.numpy(), ratio.denominator.numpy())
        for name, ratio in metric_ratios(outcomes).items()
        if name != "swap_gap"
    }
    ratios["spread"] = (np.bincount(which, distances) / counts, np.ones(len(numbers)))
    return Answers(
        metadata=asked.metadata,
        ratios=ratios,
        prompts=asked.prompts,
        words=asked.words,
        asked=asked.asked,
        given=given.masked_fill(~outcomes.is_word, torch.nan).numpy(),
        target=asked.target,
        probs=probs,
        other=probs[:, -1],
    )


def _outcomes(probs: Float[np.ndarray, "examples support"], asked: Answers) -> Outcomes:
    sizes = torch.tensor([len(words) for words in asked.words])
    log_probs = torch.from_numpy(probs).log()
    is_word = torch.arange(probs.shape[1] - 1) < sizes[:, None]
    return Outcomes(
        WordLogProbs(log_probs[:, :-1], log_probs[:, -1]),
        torch.from_numpy(asked.target).double(),
        is_word,
        torch.zeros(len(sizes), dtype=torch.bool),
    )
