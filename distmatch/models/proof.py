"""Which way of running packed trees a model takes: tried, not believed.

A miniature of the same class and config runs two branches of a tree beside a longer prompt, in each
way, against every sequence alone, with gradients; then the model itself runs a short prompt. No
list of architectures decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedConfig, PreTrainedModel

from distmatch.errors import LoadError
from distmatch.models.forwards import FORWARDS, Forward, in_eval_mode
from distmatch.models.head import output_head, predicting_rows, unwrapped
from distmatch.models.miniature import VOCAB_SIZE, miniature, smaller

_MOST_NATS = 1e-4
"""How far log-probabilities of the miniature may be from those of each sequence alone."""
_MOST_GRADIENT = 5e-3  # of the largest one; float32 in a mixture of experts is off by 1e-3
_OWN_NOISE = 3.0  # times what two plain forwards of the model itself differ by
_ROUNDING = 4.0  # times the precision's, nats that no way is blamed for
_LONG, _PROMPT, _BRANCH = 20, 10, 3
"""Tokens: longer than the miniature's window, and on both sides of its `LENGTH`."""
_OWN_LONG, _OWN_PROMPT, _OWN_BRANCH = 3, 4, 2
_NAMES = {"tree": "one masked forward", "cache": "a KV cache", "plain": "plain sequences"}


@dataclass(frozen=True)
class ForwardWay:
    """How a model's trees are run, and what was seen of the ways it doesn't take."""

    name: str
    """One of `FORWARDS`: `"tree"`, `"cache"` or `"plain"`."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Faster ways, and why not."""

    @property
    def forward(self) -> Forward:
        """What runs them."""
        return FORWARDS[self.name]


def forward_way(model: nn.Module) -> ForwardWay:
    """How the model's trees are run; found at its first use and kept.

    Args:
        model: A causal language model, adapted or wrapped or not, on the meta device or any other.

    Raises:
        LoadError: The model has no head, takes no way, as one that isn't causal, or fails by
            itself, as where kernels are missing; says what was seen.
    """
    base: Any = unwrapped(model)
    output_head(model)
    if isinstance(base, PeftModel):
        base = base.get_base_model()
    known = _KNOWN.setdefault(base, {})
    implementation = str(base.config._attn_implementation)
    if implementation not in known:
        known[implementation] = _proven(base, implementation)
    return known[implementation]


_KNOWN: WeakKeyDictionary[nn.Module, dict[str, ForwardWay]] = WeakKeyDictionary()
_SEEN: dict[tuple[object, ...], dict[str, str] | str] = {}  # of miniatures


def _proven(base: PreTrainedModel, implementation: str) -> ForwardWay:
    device = "cpu" if base.device.type == "meta" else base.device.type
    refused = _miniatures_refusals(base, implementation, device)
    for name in FORWARDS:
        if name not in refused:
            seen = _own_refusal(base, name)
            if seen is None:
                return ForwardWay(name, refused)
            refused[name] = seen
    seen = "; ".join(f"{_NAMES[name]}: {why}" for name, why in refused.items())
    raise LoadError(
        f"{type(base).__name__} isn't a causal language model that can be scored. Tried against "
        f"each sequence alone, {seen}"
    )


def _miniatures_refusals(base: PreTrainedModel, implementation: str, device: str) -> dict[str, str]:
    """What is wrong with each way that a miniature of the model doesn't take."""
    takes_masks = "flash" not in implementation  # whose kernels are of half precision alone, too
    refused = {} if takes_masks else {"tree": f"{implementation} takes no mask"}
    reason = ""
    for is_narrow in (True, False):
        try:
            config = smaller(base.config, is_narrow=is_narrow)
            told = config.to_json_string()
        except Exception as error:  # whatever a config has against it
            reason = _shown(error)
            continue
        tried = (type(base), config, implementation if takes_masks else "sdpa", device)
        key = (tried[0], told, *tried[2:])
        if key not in _SEEN:
            _SEEN[key] = _trial(*tried)
        seen = _SEEN[key]
        if not isinstance(seen, str):
            return {**seen, **refused}
        reason = seen
    return dict.fromkeys(("tree", "cache"), f"no miniature of it can be tried: {reason}")


def _trial(
    kind: type[PreTrainedModel], config: PreTrainedConfig, implementation: str, device: str
) -> dict[str, str] | str:
    """What is wrong with each way that such a miniature doesn't take; or why there is none."""
    trees = _Trees.of(VOCAB_SIZE, _LONG, _PROMPT, _BRANCH, device)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        try:
            small = miniature(kind, config, implementation, device)
            wanted = _with_gradients(small, lambda: _alone(small, trees))
        except Exception as error:  # whatever a class has against a smaller config
            return _shown(error)
        seen = {name: _refusal(small, way, trees, wanted) for name, way in FORWARDS.items()}
    return {name: refusal for name, refusal in seen.items() if refusal}


def _refusal(model: nn.Module, forward: Forward, trees: "_Trees", wanted: "_Seen") -> str | None:
    """How far a way is from what is wanted; None where it is near enough."""
    try:
        given = _with_gradients(model, lambda: forward(model, trees))
    except Exception as error:  # a layer that takes no mask, or no cache of this kind
        return _shown(error)
    nats = float(_distances(wanted.log_probs, given.log_probs).max())
    if not nats <= _MOST_NATS:
        return f"log-probabilities differ by up to {nats:.2g} nats"
    largest = max(float(gradient.abs().max()) for gradient in wanted.gradients.values())
    for name, gradient in wanted.gradients.items():
        off = float((given.gradients.get(name, torch.zeros(())) - gradient).abs().max())
        if not off <= _MOST_GRADIENT * largest:
            return f"the gradient of {name} differs by {off / largest:.2g} of the largest one"
    return None


def _own_refusal(base: PreTrainedModel, name: str) -> str | None:
    """How far a way is from plain forwards of the model itself, against their own noise."""
    if base.device.type == "meta" or isinstance(next(base.parameters()), DTensor):
        return None  # without values, or with shards that its root alone gathers
    vocab_size = base.get_output_embeddings().weight.shape[0]
    trees = _Trees.of(vocab_size, _OWN_LONG, _OWN_PROMPT, _OWN_BRANCH, str(base.device))
    with torch.no_grad(), torch.autocast(base.device.type, enabled=False), in_eval_mode(base):
        try:
            padded, given = _leaf_logits(base, trees, range(3)), FORWARDS[name](base, trees)
            if name == "plain":  # whose own doubt is whether what comes behind is seen
                noisy, wanted = slice(None), _alone(base, trees)
            else:  # one by itself shows the noise; a forward each would take three times as long
                first, count = trees.leaf_rows[:2]
                noisy, wanted = slice(first, first + count), padded.clone()
                wanted[noisy] = _leaf_logits(base, trees, [1])
        except Exception as error:
            if name == "plain":
                raise LoadError(
                    f"a plain forward of this {type(base).__name__} fails: {error}"
                ) from error
            return _shown(error)
    wanted, padded, given = (x.double().log_softmax(-1) for x in (wanted, padded, given))
    # A router that tips over in one row's last bit is no difference between ways: the median row
    noise = float(_distances(wanted[noisy], padded[noisy]).median())
    off = float(_distances(wanted, given).median())
    rounding = _ROUNDING * torch.finfo(base.dtype).eps
    if not off > max(_OWN_NOISE * noise, _MOST_NATS, rounding):  # nor blame a way for NaN
        return None
    return f"its own log-probabilities differ by {off:.2g} nats, plain forwards by {noise:.2g}"


def _distances(
    wanted: Float[Tensor, "rows vocab"], given: Float[Tensor, "rows vocab"]
) -> Float[Tensor, " rows"]:
    """The mean difference of log-probabilities under the wanted distribution, nats."""
    differences = torch.where(wanted.isneginf(), 0.0, (given - wanted).abs())
    return (wanted.exp() * differences).sum(-1)


@dataclass(frozen=True)
class _Seen:
    log_probs: Float[Tensor, "rows vocab"]
    gradients: Mapping[str, Tensor]


def _with_gradients(model: nn.Module, run: Callable[[], Tensor]) -> _Seen:
    """Log-probabilities, and the gradients of a weighted sum of them."""
    log_probs = run().double().log_softmax(-1)
    weights = torch.arange(log_probs.numel(), device=log_probs.device).double().sin()
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    names, learning = zip(*named, strict=True)
    total = (log_probs * weights.view_as(log_probs)).sum()
    gradients = torch.autograd.grad(total, learning, allow_unused=True)
    known = {n: g for n, g in zip(names, gradients, strict=True) if g is not None}
    return _Seen(log_probs.detach(), known)


@dataclass(frozen=True)
class _Trees:
    """`PackedTrees` of one long sequence, and behind it a prompt with two branches."""

    ids: Int[Tensor, "packs tokens"]
    depths: Int[Tensor, "packs tokens"]
    ends: Int[Tensor, "packs tokens"]
    row_tokens: Int[Tensor, " rows"]
    example_rows: Int[Tensor, "batch nodes"]
    leaves: Sequence[Int[Tensor, " _"]]
    """The three sequences. Behind each predict as many tokens as `leaf_rows` says, in rows' order:
    the last of them."""
    leaf_rows: Sequence[int]

    @classmethod
    def of(cls, vocab_size: int, long: int, prompt: int, branch: int, device: str) -> "_Trees":
        """Of so many tokens each, which are spread over the vocabulary."""
        start = long + prompt
        size = start + 2 * branch
        ids = (torch.arange(1, size + 1) * 7919) % (vocab_size - 1) + 1
        behind = [*range(prompt, prompt + branch)]
        rows = [long - 1, start - 1, *range(start, size)]
        second = torch.cat([ids[long:start], ids[start + branch :]])
        nodes = list(range(1, len(rows)))
        tensors = {
            "ids": ids[None],
            "depths": torch.tensor([[*range(long), *range(prompt), *behind, *behind]]),
            "ends": torch.tensor(
                [[long] * long + [size] * prompt + [start + branch] * branch + [size] * branch]
            ),
            "row_tokens": torch.tensor(rows),
            "example_rows": torch.tensor([[0] + [len(rows)] * (len(nodes) - 1), nodes]),
        }
        leaves = [part.to(device) for part in (ids[:long], ids[long : start + branch], second)]
        moved = {name: tensor.to(device) for name, tensor in tensors.items()}
        return cls(**moved, leaves=leaves, leaf_rows=(1, 1 + branch, branch))


def _alone(model: nn.Module, trees: _Trees) -> Float[Tensor, "rows vocab"]:
    """Logits behind each row's sequence, all it reads and nothing beside it."""
    counted = zip(trees.leaves, trees.leaf_rows, strict=True)
    read = [leaf[: len(leaf) - k] for leaf, rows in counted for k in reversed(range(rows))]
    return torch.cat([_logits(model, ids[None], [len(ids) - 1]) for ids in read])


def _leaf_logits(
    model: nn.Module, trees: _Trees, leaves: Sequence[int]
) -> Float[Tensor, "rows vocab"]:
    """The same of some leaves in one batch, filled up behind their ends, read at every row."""
    some = [trees.leaves[leaf] for leaf in leaves]
    filler = int(trees.ids[0, 0])  # a pad token would be warned of
    ids = nn.utils.rnn.pad_sequence(some, batch_first=True, padding_value=filler)
    places = [
        number * ids.shape[1] + len(trees.leaves[leaf]) - 1 - k
        for number, leaf in enumerate(leaves)
        for k in reversed(range(trees.leaf_rows[leaf]))
    ]
    lengths = torch.tensor([len(one) for one in some], device=ids.device)
    is_there = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    return _logits(model, ids, places, attention_mask=is_there.long())


def _logits(
    model: nn.Module, ids: Int[Tensor, "batch tokens"], places: Sequence[int], **told: Tensor
) -> Float[Tensor, "rows vocab"]:
    with predicting_rows(model, torch.tensor(places, device=ids.device)):
        return model(input_ids=ids, use_cache=False, **told).logits


def _shown(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:160]}"
