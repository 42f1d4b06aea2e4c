"""Divergences between the model's and the wanted distribution over the same outcomes.

Every function takes the model's log-probabilities first and the target's probabilities second
(the order of `torch.nn.functional.kl_div`), works over the last axis, keeps all leading axes, and
returns nats. None reduces over the batch. 0 log 0 is 0, and nothing is clamped: what is infinite
in the formula is infinite here. *Other* is a column like any outcome.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Divergence = Callable[[Float[Tensor, "*batch support"], Float[Tensor, "*batch support"]], Tensor]
"""Of the model's log-probabilities and the target's probabilities, one value a row."""


def forward_kl(
    log_probs: Float[Tensor, "*batch support"], target: Float[Tensor, "*batch support"]
) -> Float[Tensor, "*batch"]:
    """KL(target || model): infinite where the target has an outcome the model rules out."""
    return _kl(target.log(), log_probs)


def reverse_kl(
    log_probs: Float[Tensor, "*batch support"], target: Float[Tensor, "*batch support"]
) -> Float[Tensor, "*batch"]:
    """KL(model || target): infinite where the model has an outcome the target rules out."""
    return _kl(log_probs, target.log())


def jensen_shannon(
    log_probs: Float[Tensor, "*batch support"],
    target: Float[Tensor, "*batch support"],
    *,
    beta: float = 0.5,
) -> Float[Tensor, "*batch"]:
    r"""Generalised Jensen-Shannon divergence of target p and model q.

    $$\mathrm{JS}_\beta = \beta\,\mathrm{KL}(p \,\|\, m) + (1-\beta)\,\mathrm{KL}(q \,\|\, m),
    \qquad m = \beta p + (1-\beta) q$$

    By definition, as in TRL, beta = 0 is KL(p || q) and beta = 1 is KL(q || p); the formula itself
    goes to 0 at both ends. At beta = 0.5 it is symmetric and at most log 2.

    Args:
        log_probs: The model's log-probabilities. `-inf` is allowed.
        target: The wanted probabilities, each row summing to 1. Zeros are allowed.
        beta: Weight of the target in the mixture, 0 to 1.

    Returns:
        One value per row, in nats.

    Raises:
        ValueError: `beta` is outside 0 to 1.

    Example:
        >>> model = torch.tensor([0.5, 0.5, 0.0]).log()
        >>> jensen_shannon(model, torch.tensor([0.5, 0.0, 0.5]))
        tensor(0.3466)

    References:
        Lin, "Divergence Measures Based on the Shannon Entropy", IEEE Trans. Inf. Theory, 1991.
        Agarwal et al., "On-Policy Distillation of Language Models", ICLR 2024.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta is {beta}, expected 0 to 1")
    if beta == 0:
        return forward_kl(log_probs, target)
    if beta == 1:
        return reverse_kl(log_probs, target)
    log_mixture = _log_mixture(log_probs, target, beta)
    return beta * _kl(target.log(), log_mixture) + (1 - beta) * _kl(log_probs, log_mixture)


def skew_kl(
    log_probs: Float[Tensor, "*batch support"],
    target: Float[Tensor, "*batch support"],
    *,
    beta: float = 0.1,
) -> Float[Tensor, "*batch"]:
    r"""KL(p || beta p + (1 - beta) q): forward KL that is finite even where the model has zeros.

    At most -log(beta), and equal to `forward_kl` at beta = 0. At beta = 1 nothing would be left
    of the model.

    Raises:
        ValueError: `beta` is below 0, or not below 1.

    References:
        Lee, "On the Effectiveness of the Skew Divergence for Statistical Language Analysis", 2001.
        Ko et al., "DistiLLM: Towards Streamlined Distillation for Large Language Models", 2024.
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta is {beta}, expected 0 or more and less than 1")
    if beta == 0:
        return forward_kl(log_probs, target)
    return _kl(target.log(), _log_mixture(log_probs, target, beta))


def total_variation(
    log_probs: Float[Tensor, "*batch support"], target: Float[Tensor, "*batch support"]
) -> Float[Tensor, "*batch"]:
    """Half the summed absolute differences: the most two distributions differ on any event."""
    return 0.5 * (log_probs.exp() - target).abs().sum(-1)


def wasserstein1(
    log_probs: Float[Tensor, "*batch support"], target: Float[Tensor, "*batch support"]
) -> Float[Tensor, "*batch"]:
    """Earth mover's distance between neighbours in the words' order, in steps of one word.

    Both sides are renormalised over the words (all outcomes but the last, other), whose order is
    taken as a scale: the summed absolute differences of the cumulative distributions. It says
    nothing about other.
    """
    model = log_probs[..., :-1].softmax(-1)
    words = target[..., :-1]
    wanted = words / words.sum(-1, keepdim=True)
    return (model - wanted).cumsum(-1).abs().sum(-1)


DIVERGENCES: dict[str, Divergence] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
    "skew_kl": skew_kl,
    "total_variation": total_variation,
    "wasserstein1": wasserstein1,
}
"""By the names that `DistributionConfig.loss` and run files take."""


def _kl(
    log_p: Float[Tensor, "*batch support"], log_q: Float[Tensor, "*batch support"]
) -> Float[Tensor, "*batch"]:
    """KL(p || q), with 0 log 0 = 0 in the value and in the gradient."""
    p = log_p.exp()
    is_possible = p > 0  # p, not log_p: exp() may underflow to 0
    # Two wheres: an infinite difference in the branch not taken would make the gradient nan.
    log_ratio = torch.where(is_possible, log_p, 0.0) - torch.where(is_possible, log_q, 0.0)
    return (p * log_ratio).sum(-1)


def _log_mixture(
    log_probs: Float[Tensor, "*batch support"], target: Float[Tensor, "*batch support"], beta: float
) -> Float[Tensor, "*batch support"]:
    """log(beta p + (1 - beta) q), in log space so that neither side underflows alone."""
    log_p = target.log() + math.log(beta)
    log_q = log_probs + math.log1p(-beta)
    # logaddexp(-inf, -inf) has a nan gradient even when masked out.
    neither = torch.isneginf(log_p) & torch.isneginf(log_q)
    return torch.where(
        neither, -torch.inf, torch.logaddexp(log_p, torch.where(neither, 0.0, log_q))
    )
