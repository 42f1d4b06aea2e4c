"""Where the numbers of a model stop being finite."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distmatch.errors import DivergedError


def check_finite(
    logits: Float[Tensor, "rows vocab"], model: nn.Module, again: Callable[[], object]
) -> None:
    """Refuse logits that are no numbers, or infinite; -inf, of a token that can't be, may stand.

    Adapters' weights are looked at themselves: some attention kernels make finite numbers of NaN.

    Args:
        logits: Of a forward.
        model: What made them.
        again: Runs that forward once more, to find where it goes wrong.

    Raises:
        DivergedError: Says which weights aren't finite, or else which module's output is the first.
    """
    adapters: list[Tensor] = [
        w for name, w in model.named_parameters() if "lora_" in name and w.numel()
    ]
    largest: Sequence[Tensor] = torch._foreach_norm(adapters, torch.inf) if adapters else ()
    if _is_finite(largest) and not (logits.isnan() | logits.isposinf()).any():
        return
    wrong = [name for name, w in model.named_parameters() if not _is_finite([w])]
    if wrong:
        raise DivergedError(
            f"{len(wrong)} of the model's weights hold NaN or infinity, the first of them "
            f'"{wrong[0]}": training diverged or the file is damaged; go back to a checkpoint'
        )
    first = _first_wrong(model, again) or "the output head"
    raise DivergedError(
        f"the model's numbers stop being finite in {first}, though its weights are finite: they "
        "are too large for its precision. Load it in bfloat16 or float32 (dtype=)"
    )


def _first_wrong(model: nn.Module, again: Callable[[], object]) -> str | None:
    """The name of the first module with such an output, innermost first."""
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, outputs: object) -> None:
            if not found and not _is_finite(_tensors(outputs)):
                found.append(name)

        return hook

    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.named_modules():
            hooks.callback(module.register_forward_hook(look(name)).remove)
        again()
    return found[0] if found else None


def _is_finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(t.isfinite().all()) for t in tensors if t.is_floating_point())


def _tensors(outputs: object) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, (tuple, list)):
        for part in outputs:
            yield from _tensors(part)
