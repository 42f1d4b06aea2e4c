"""What every set of examples is measured by: copying, control, and policies that can't read.

Each metric is a ratio of two sums over examples, so that one bootstrap serves them all: means have
a denominator of 1 for each example they count, the slope has its own.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distmatch.losses.divergences import forward_kl, total_variation
from distmatch.losses.words import WordLogProbs, support_log_probs

METRICS = (
    *("tvd", "forward_kl", "other", "control_tvd", "slope", "swap_gap", "policy_tvd"),
    *("within_0.05", "within_0.10", "within_0.20"),
)
"""The names of what is measured, the headline first."""

_NO_SPREAD = 1e-9  # what rounding leaves of equal probabilities


class Outcomes(NamedTuple):
    """A model's scores of some examples beside what was asked; rows are examples."""

    scores: WordLogProbs
    target: Float[Tensor, "batch support"]
    is_word: Bool[Tensor, "batch words"]
    is_free: Bool[Tensor, " batch"]


class Ratio(NamedTuple):
    """A metric as a sum over examples divided by another."""

    numerator: Float[Tensor, " batch"]
    denominator: Float[Tensor, " batch"]

    def value(self) -> float:
        """The metric over all its examples; NaN where it has none."""
        return float(self.numerator.sum() / self.denominator.sum())


def metric_ratios(
    outcomes: Outcomes,
    rotations: WordLogProbs | None = None,
    rotation_of: Int[Tensor, " rotations"] | None = None,
) -> dict[str, Ratio]:
    """Every metric of `METRICS`, an example each.

    Args:
        outcomes: The examples themselves.
        rotations: Scores of the same questions with their numbers moved over their words.
        rotation_of: Which example each of these belongs to. An example counts for `swap_gap` if it
            has a rotation for each word but the first, and all of them some word that is possible.
    """
    given, asked = renormalised(outcomes)
    ratios = {
        "control_tvd": _mean(0.5 * (given - asked).abs().sum(-1), _has_control(outcomes)),
        "policy_tvd": policy_ratio(asked, outcomes.is_word),
        "slope": slope_ratio(outcomes),
        "swap_gap": _swap_gap(outcomes, rotations, rotation_of),
    }
    log_probs = support_log_probs(outcomes.scores, outcomes.is_free)
    tvd = total_variation(log_probs, outcomes.target)
    per_example = {
        "tvd": tvd,
        "forward_kl": forward_kl(log_probs, outcomes.target),
        "other": outcomes.scores.other.exp(),
        **{f"within_{limit}": (tvd <= float(limit)).float() for limit in ("0.05", "0.10", "0.20")},
    }
    ratios |= {n: Ratio(values, torch.ones_like(values)) for n, values in per_example.items()}
    return {name: ratios[name] for name in METRICS}


def policy_ratio(
    asked: Float[Tensor, "batch words"], is_word: Bool[Tensor, "batch words"]
) -> Ratio:
    """TVD, over the words, of the best policy that can't read the numbers, on these examples.

    Args:
        asked: Renormalised over the words; NaN in an example that says nothing about control.
        is_word: Which words an example has.
    """
    policy = _best_policy(asked, is_word)
    return _mean(0.5 * (policy - asked).abs().sum(-1), ~asked.isnan().any(-1))


def slope_ratio(outcomes: Outcomes) -> Ratio:
    """Least-squares slope of the given on the asked probability, both renormalised over the words.

    Each example is centred at 1/K, where a policy that ignores the numbers would be: 1 is perfect
    control, 0 none. Examples that ask for 1/K themselves don't count.
    """
    return centred_slope(*renormalised(outcomes), outcomes.is_word, _has_control(outcomes))


def centred_slope(
    given: Float[Tensor, "batch words"],
    asked: Float[Tensor, "batch words"],
    is_word: Bool[Tensor, "batch words"],
    counts: Bool[Tensor, " batch"],
) -> Ratio:
    """The same of probabilities that are renormalised already.

    Args:
        given: Renormalised over the words; 0 where there is no word.
        asked: Likewise.
        is_word: Which words an example has.
        counts: Which examples say something about control.
    """
    centre = is_word / is_word.sum(-1, keepdim=True)
    spread = (asked - centre).square().sum(-1)
    is_nothing = ~counts | (spread < _NO_SPREAD)
    return Ratio(
        ((asked - centre) * (given - centre)).sum(-1).masked_fill(is_nothing, 0),
        spread.masked_fill(is_nothing, 0),
    )


def renormalised(
    outcomes: Outcomes,
) -> tuple[Float[Tensor, "batch words"], Float[Tensor, "batch words"]]:
    """Given and asked probabilities over the words alone; padding is 0 in both.

    An example says nothing about control, and is NaN in both, if it has a single word, or if its
    words have no probability at all, asked or given.
    """
    is_nothing = ~_has_control(outcomes)[:, None]
    given = outcomes.scores.words.softmax(-1)
    words = outcomes.target[:, :-1]
    asked = words / words.sum(-1, keepdim=True)
    return given.masked_fill(is_nothing, torch.nan), asked.masked_fill(is_nothing, torch.nan)


def _has_control(outcomes: Outcomes) -> Bool[Tensor, " batch"]:
    """Which examples have at least two words, and of these some asked for and some possible."""
    is_ruled_out = torch.isneginf(outcomes.scores.words).all(-1)
    is_asked = (outcomes.target[:, :-1] > 0).any(-1)
    return (outcomes.is_word.sum(-1) > 1) & is_asked & ~is_ruled_out


def _mean(values: Float[Tensor, " batch"], counts: Bool[Tensor, " batch"]) -> Ratio:
    """The mean over the examples that count."""
    return Ratio(values.masked_fill(~counts, 0), counts.to(values.dtype))


def _swap_gap(
    outcomes: Outcomes, rotations: WordLogProbs | None, rotation_of: Tensor | None
) -> Ratio:
    """Mean over words of |sum over rotations of q(word) - 1| / K."""
    given = outcomes.scores.words.softmax(-1)
    num_words = outcomes.is_word.sum(-1)
    counts = torch.ones_like(num_words)
    if rotations is not None and rotation_of is not None:
        width = given.shape[1]
        given = given.index_add(0, rotation_of, rotations.words[:, :width].softmax(-1))
        counts = counts.index_add(0, rotation_of, torch.ones_like(rotation_of))
    gap = torch.where(outcomes.is_word, (given - 1).abs(), 0.0).sum(-1) / num_words.square()
    is_complete = (counts == num_words) & (num_words > 1)
    return _mean(gap, is_complete & ~gap.isnan())  # NaN where some rotation rules out every word


def _best_policy(
    asked: Float[Tensor, "batch words"], is_word: Bool[Tensor, "batch words"]
) -> Float[Tensor, "batch words"]:
    """What the best policy that can't read the numbers answers to each example.

    For each number of words the constant (by the words' order in the record) of least mean TVD to
    these very examples. Uniform is such a constant, so it is never better.
    """
    num_words = is_word.sum(-1).masked_fill(asked.isnan().any(-1), 0)
    answer = torch.zeros_like(asked)
    for count in num_words.unique().tolist():
        if count:
            rows = num_words == count
            answer[rows, :count] = _best_constant(asked[rows, :count])
    return answer


def _best_constant(asked: Float[Tensor, "batch words"]) -> Float[Tensor, " words"]:
    """The distribution of least mean TVD to some distributions, exactly.

    The sum of absolute differences, under the constraint to sum to 1, is least where every word
    stands at the same quantile of its own column. So: the two neighbouring order statistics whose
    sums enclose 1, and the point between them that sums to 1.
    """
    ordered = asked.sort(0).values
    totals = ordered.sum(-1)
    above = int((totals < 1).sum().clamp(min=1, max=len(totals) - 1)) if len(totals) > 1 else 0
    below = max(above - 1, 0)
    span = (totals[above] - totals[below]).clamp(min=torch.finfo(asked.dtype).tiny)
    share = ((1 - totals[below]) / span).clamp(0, 1)
    return torch.lerp(ordered[below], ordered[above], share)
