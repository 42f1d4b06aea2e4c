"""Where a training step's time goes, part by part, and the least that it could take.

Time is split among the modules that are watched: all of a step belongs to the one that is at work
then, or to the rest. So parts sum to the step, with what gradient checkpointing computes again
counted where it belongs, and not to the module whose backward asked for it.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from distmatch.models import experts
from distmatch.models.blocks import decoder_blocks
from distmatch.models.experts import PackedExperts
from distmatch.models.footprint import empty_model, num_bytes, weight_bytes

REST = "rest"
_WARM_UPS, _REPEATS = 3, 10


class Split:
    """How long things take on a device, and parts of them."""

    def __init__(self, device: torch.device) -> None:
        """Nothing is watched yet."""
        self._on_gpu = device.type == "cuda"
        self._at_work = [REST]
        self._marks: list[tuple[str, Any]] = []

    def milliseconds(self, run: Callable[[], object]) -> float:
        """How long it takes."""
        start = self._now()
        run()
        return self._between(start, self._now())

    def watch(self, module: nn.Module, name: str) -> None:
        """Count a module's forwards, recomputed ones too, and backwards to a part.

        The backward of one whose input has no gradient, as in a first block, is counted to the
        rest. That of experts takes in the router's, which ends where theirs does.
        """

        def begin(*_: object) -> None:
            self._begin(name)

        def end(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            self._end()
            given, made = _tensor((*args, *kwargs.values())), _tensor(output)
            if name != REST and _learns(given) and _learns(made):
                made.register_hook(lambda _: self._begin(name))  # type: ignore[union-attr]
                given.register_hook(lambda _: self._end())  # type: ignore[union-attr]

        module.register_forward_pre_hook(begin)
        # Also where checkpointing breaks a forward off that has computed all that is needed
        module.register_forward_hook(end, with_kwargs=True, always_call=True)

    def parts(self, run: Callable[[], object]) -> dict[str, float]:
        """Milliseconds of one run, by part; what unpacks experts is one as well."""
        self._at_work, self._marks = [REST], []
        self._mark()
        with self._unpacking_watched():
            run()
        self._mark()
        sums: dict[str, float] = defaultdict(float)
        for (name, start), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            sums[name] += self._between(start, end)
        return dict(sums)

    @contextmanager
    def _unpacking_watched(self) -> Iterator[None]:
        unpack = experts.dequantize

        def watched(blocks: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
            self._begin("unpacking")
            values = unpack(blocks, scales, dtype)
            self._end()
            return values

        experts.dequantize = watched  # type: ignore[assignment]
        try:
            yield
        finally:
            experts.dequantize = unpack

    def _begin(self, name: str) -> None:
        self._at_work.append(name)
        self._mark()

    def _end(self) -> None:
        self._at_work.pop()
        self._mark()

    def _mark(self) -> None:
        self._marks.append((self._at_work[-1], self._now()))

    def _now(self) -> Any:
        """A moment, on the device's clock."""
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, start: Any, end: Any) -> float:
        """Milliseconds."""
        if not self._on_gpu:
            return float(1000 * (end - start))
        end.synchronize()
        return float(start.elapsed_time(end))


def least_time(
    config: PreTrainedConfig, quantization: str, tokens: int, rates: dict[str, float]
) -> dict[str, float]:
    """What a step can't be faster than: its products, and its weights read in both directions.

    Frozen weights need two products of each token in either direction, without checkpointing; of
    experts, those that a token is sent to. All weights but the embedding's table are read twice.

    Args:
        config: The model's.
        quantization: As for `load_model`.
        tokens: That go through it.
        rates: As of `rates_of`.
    """
    model = empty_model(config, quantization, torch.bfloat16)
    embedding = num_bytes(model.get_input_embeddings().weight)  # type: ignore[arg-type]
    read = 2 * (weight_bytes(model, quantization) - embedding)
    flops = 4 * _active_weights(model) * tokens
    by_products = flops / rates["product_tflops"] / 1e9
    by_reading = read / rates["copy_gb_per_s"] / 1e6
    return {
        "flops": flops,
        "read_gb": round(read / 1e9, 2),
        "products_ms": round(by_products, 3),
        "reading_ms": round(by_reading, 3),
        "floor_ms": round(max(by_products, by_reading), 3),
    }


def rates_of(device: torch.device, width: int, num_copied: int) -> dict[str, float]:
    """What the device reaches: products of square bf16 matrices, and bytes read and written.

    Args:
        device: Which.
        width: Of the matrices.
        num_copied: Bytes copied at a time.
    """
    left, right = torch.randn(2, width, width, device=device, dtype=torch.bfloat16)
    source = torch.randint(0, 256, (num_copied,), device=device, dtype=torch.uint8)
    copy = torch.empty_like(source)
    product = _mean_ms(device, lambda: left @ right)
    copying = _mean_ms(device, lambda: copy.copy_(source))
    return {
        "product_tflops": round(2 * width**3 / product / 1e9, 6),
        "copy_gb_per_s": round(2 * num_copied / copying / 1e6, 3),
    }


def _mean_ms(device: torch.device, run: Callable[[], object]) -> float:
    for _ in range(_WARM_UPS):
        run()
    return Split(device).milliseconds(lambda: [run() for _ in range(_REPEATS)]) / _REPEATS


def _active_weights(model: PreTrainedModel) -> int:
    """Those of all blocks' matrices that a token meets."""
    chosen = model.config.num_experts_per_tok
    num = 0
    for block in decoder_blocks(model).values():
        for module in block.modules():
            weight = getattr(module, "weight", None)
            if isinstance(module, PackedExperts):
                num += chosen * sum(i * o for _, i, o in module.shapes.values())
            elif weight is not None and weight.ndim == 2:
                num += weight.numel()
    return num


def _tensor(values: Any) -> Tensor | None:
    """The first of some values that is one."""
    several = values if isinstance(values, tuple) else (values,)
    return next((value for value in several if isinstance(value, Tensor)), None)


def _learns(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.requires_grad
