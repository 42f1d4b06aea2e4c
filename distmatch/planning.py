"""How much memory a training step will take, counted without loading or renting anything.

The model is built of torch's fake tensors, which have shapes but no memory, and one training
forward of real examples runs on them: what autograd keeps is counted, tensor by tensor.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distmatch.data.batching import Batch, make_batch
from distmatch.data.examples import Example
from distmatch.errors import ConfigError, unknown_name
from distmatch.losses.divergences import forward_kl
from distmatch.losses.retention import CHUNK_BYTES
from distmatch.losses.words import support_log_probs, word_log_probs
from distmatch.models.attaching import attach_lora
from distmatch.models.blocks import decoder_blocks
from distmatch.models.cast_once import CastOnce
from distmatch.models.experts import PackedExperts, num_unpacked_at_once
from distmatch.models.footprint import empty_model, num_bytes, weight_bytes
from distmatch.models.head import is_rounded, output_head
from distmatch.models.loading import (
    QUANTIZATIONS,
    load_config,
    load_tokenizer,
    mixed_dtype,
    named_dtype,
)
from distmatch.models.lora import LoraTarget
from distmatch.models.proof import forward_way
from distmatch.scoring import logits_and_text_states, model_encoder

_ADAM_STATES = 2
_FLOAT32 = 4
_CHUNKS = 8  # tensors of retention's logits at a time: two models', and what their KL takes
_INDEX = 2  # bytes for each value of a matrix while it is unpacked


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes of one training step at its fullest."""

    weights: int
    adapter: int
    """The LoRAs, their gradients and Adam's two moments."""
    activations: int
    """What autograd keeps from forward to backward."""
    transient: int
    """The largest passing tensors: experts' unpacked matrices, or logits and their gradient."""

    @property
    def total(self) -> int:
        """All of it together."""
        return self.weights + self.adapter + self.activations + self.transient

    def __str__(self) -> str:
        """A table in units of 1e9 bytes."""
        rows = {
            "weights": self.weights,
            "adapter, gradients, optimiser": self.adapter,
            "activations": self.activations,
            "transient": self.transient,
            "together": self.total,
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {size / 1e9:8.3f} GB" for name, size in rows.items())


def memory_plan(  # noqa: PLR0913 - all that a step's size depends on
    model: str | PreTrainedConfig,
    examples: Sequence[Example],
    target: LoraTarget,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    quantization: str | None = None,
    dtype: str | torch.dtype = torch.bfloat16,
    checkpointing: bool = False,
    mixed: str | torch.dtype | None = None,
    retention: tuple[int, int] = (0, 0),
) -> MemoryPlan:
    """What a step on these examples takes; only config and tokenizer are read.

    Args:
        model: As for `load_model`, or a config.
        examples: One step's, or one micro-batch's.
        target: Which weights learn.
        tokenizer: None: the model's; needed beside a config.
        quantization: As for `load_model`.
        dtype: Of what isn't packed.
        checkpointing: With gradient checkpointing.
        mixed: The precision of mixed training, such as `"bfloat16"`; None: without. What doesn't
            learn is kept in it too.
        retention: How many ordinary texts accompany the examples, and of how many tokens each.

    Raises:
        ConfigError: An unknown quantization or precision, a config without a tokenizer, or a model
            that takes no trees in one forward.
        LoadError: No such model.
        DataError: Examples that can't be encoded.
        TargetingError: The target doesn't fit the model.
    """
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise ConfigError(unknown_name("quantization", quantization, QUANTIZATIONS))
    dtype = named_dtype(dtype)
    mixed = mixed_dtype(mixed)
    if tokenizer is None and not isinstance(model, str):
        raise ConfigError("a config alone names no tokenizer: give tokenizer=")
    if tokenizer is None:
        tokenizer = load_tokenizer(str(model))
    config = load_config(model) if isinstance(model, str) else model
    base = empty_model(config, quantization, dtype)
    if why := forward_way(base).refused.get("tree"):
        raise ConfigError(f"steps are planned for models that take trees in one forward: {why}")
    weights = weight_bytes(base, quantization)
    encoder = model_encoder(base, tokenizer)
    blocks = list(decoder_blocks(base).values())
    adapted = attach_lora(base, target)
    learning = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    fake = FakeTensorMode()
    _pretend(adapted, fake)
    with fake:
        cast = CastOnce(adapted, mixed)
    texts = [(i, *[0] * (retention[1] - 1)) for i in range(retention[0])]
    batch = make_batch(encoder.encode_all(examples), encoder, texts=texts)
    with cast.installed(), torch.autocast("cpu", mixed, enabled=mixed is not None):
        kept = _kept(adapted, blocks, batch, fake)
    config = base.config.get_text_config()
    hidden = batch.ids.numel() * config.hidden_size * dtype.itemsize
    inside = max(kept.by_block) + len(blocks) * hidden if checkpointing else sum(kept.by_block)
    losses, logits = _loss_bytes(batch, config.vocab_size)
    chunk = min(CHUNK_BYTES, len(batch.text_tokens) * config.vocab_size * _FLOAT32)
    return MemoryPlan(
        weights=weights + cast.num_bytes + (_cast_head(adapted, mixed) if texts else 0),
        adapter=learning * _FLOAT32 * (2 + _ADAM_STATES),
        activations=inside + kept.outside + losses,
        transient=max(_largest_unpacked(base, dtype), logits, _CHUNKS * chunk),
    )


def _pretend(model: nn.Module, fake: FakeTensorMode) -> None:
    """Move a model from the meta device to one that pretends to be a CPU."""
    moved: dict[int, Tensor] = {}
    with fake:
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is None:
                        continue
                    if id(tensor) not in moved:  # tied weights stay tied
                        new = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
                        is_weight = isinstance(tensor, nn.Parameter)
                        moved[id(tensor)] = (
                            nn.Parameter(new, requires_grad=tensor.requires_grad)
                            if is_weight
                            else new
                        )
                    tensors[name] = moved[id(tensor)]  # type: ignore[assignment]


@dataclass
class _Kept:
    """Bytes that autograd keeps, in each block and outside of them."""

    by_block: list[int]
    outside: int = 0
    seen: set[int] = field(default_factory=set)
    storages: list[torch.UntypedStorage] = field(default_factory=list)
    """Held, so that no other gets one's identity."""


def _kept(
    adapted: nn.Module, blocks: Sequence[nn.Module], batch: Batch, fake: FakeTensorMode
) -> _Kept:
    shapes = {f.name: fake.from_tensor(getattr(batch, f.name)) for f in fields(batch)}
    kept = _Kept([0] * len(blocks))
    inside: list[int] = []
    for weight in [*adapted.parameters(), *adapted.buffers()]:
        kept.seen.add(weight.untyped_storage()._cdata)

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in kept.seen:
            kept.seen.add(storage._cdata)
            kept.storages.append(storage)
            if inside:
                kept.by_block[inside[-1]] += storage.nbytes()
            else:
                kept.outside += storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor)
    with fake, _known_block(blocks, inside), hooks:
        logits, states = logits_and_text_states(adapted, Batch(**shapes))
    kept.outside += num_bytes(logits) + num_bytes(states.states)
    return kept


@contextmanager
def _known_block(blocks: Sequence[nn.Module], inside: list[int]) -> Iterator[None]:
    """Inside, `inside` ends with the number of the block that is running, if one is."""
    handles = []
    for number, block in enumerate(blocks):
        handles.append(block.register_forward_pre_hook(lambda *_, n=number: inside.append(n)))
        handles.append(block.register_forward_hook(lambda *_: inside.clear()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _loss_bytes(batch: Batch, vocab_size: int) -> tuple[int, int]:
    """What the loss keeps beside its logits, and their size; counted on real ones, all zero."""
    logits = torch.zeros(len(batch.row_tokens), vocab_size, dtype=torch.float32, requires_grad=True)
    storages = {logits.untyped_storage()._cdata: logits.untyped_storage()}
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        storage = tensor.untyped_storage()
        if storage._cdata not in storages:
            storages[storage._cdata] = storage
            kept += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
        forward_kl(
            support_log_probs(word_log_probs(logits, batch), batch.is_free), batch.target
        ).sum()
    return kept, num_bytes(logits)


def _cast_head(model: nn.Module, mixed: torch.dtype | None) -> int:
    """The head's matrix as retention multiplies it, where that isn't the model's own."""
    head: Any = output_head(model)
    if mixed is None or not is_rounded(head, mixed) or head.weight.dtype == mixed:
        return 0
    return head.weight.numel() * mixed.itemsize


def _largest_unpacked(model: PreTrainedModel, dtype: torch.dtype) -> int:
    """The matrices unpacked at once, and the index they're looked up by."""
    most = 0
    for module in model.modules():
        if isinstance(module, PackedExperts):
            for experts, inputs, outputs in module.shapes.values():
                num = min(experts, num_unpacked_at_once(inputs * outputs * dtype.itemsize, "cuda"))
                most = max(most, num * inputs * outputs * (dtype.itemsize + _INDEX))
    return most
