"""How a model names its blocks and the adaptable weights inside them.

The one file that knows. Everything is read from the modules at hand, by their kind and their
names, never from the model's type; a weight it can't place is an error, not a guess.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from distmatch.errors import TargetingError, listed
from distmatch.models.experts import PackedExperts

KINDS = ("attention", "mlp", "experts", "router")
NAMES = ("q", "k", "v", "o", "qkv", "q_a", "q_b", "kv_a", "kv_b", "gate", "up", "down")
FUSED = {"qkv": ("q", "k", "v"), "kv_b": ("k", "v")}

_ATTENTION = {
    "q_proj": "q",
    "k_proj": "k",
    "v_proj": "v",
    "o_proj": "o",
    "c_attn": "qkv",
    "c_proj": "o",
    "q_a_proj": "q_a",
    "q_b_proj": "q_b",
    "kv_a_proj_with_mqa": "kv_a",
    "kv_b_proj": "kv_b",
}
_MLP = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down", "c_fc": "up", "c_proj": "down"}
_ROUTERS = ("router", "gate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One adaptable matrix of one block, or the stack of such matrices over its experts."""

    block: int
    kind: str
    """One of `KINDS`."""
    name: str
    """One of `NAMES`; experts and routers are called after their kind."""
    path: str
    """The module's full path, or the parameter's where `is_parameter`."""
    is_parameter: bool
    in_features: int
    out_features: int
    num_experts: int | None = None
    """How many matrices the stack has; None for a single matrix."""

    def lora_size(self, rank: int) -> int:
        """Parameters of a LoRA of that rank on this site."""
        return rank * (self.in_features + self.out_features) * (self.num_experts or 1)


def decoder_blocks(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The decoder's blocks by full path, in order.

    They're the outermost list of equal modules beside the token embedding, so neither the vision
    tower of a multimodal model nor a list of experts is taken for them.

    Raises:
        TargetingError: There is no such list.
    """
    embedding = model.get_input_embeddings()
    embedding_path = next(path for path, module in model.named_modules() if module is embedding)
    decoder_path = embedding_path.rpartition(".")[0]
    lists = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
        and path.startswith(f"{decoder_path}." if decoder_path else "")
        and len({type(child) for child in module}) == 1
    }
    if not lists:
        raise TargetingError(
            f"no list of equal blocks beside the token embedding ({embedding_path}) of this "
            f"{type(model).__name__}; its modules there are: "
            + ", ".join(name for name, _ in model.get_submodule(decoder_path).named_children())
        )
    path = min(lists, key=lambda path: (path.count("."), -len(lists[path])))
    return {f"{path}.{index}": block for index, block in enumerate(lists[path])}


def adaptable_sites(model: PreTrainedModel) -> list[Site]:
    """Every site of every block, in the order of the blocks and of the modules inside.

    Norms, biases and attention sinks are no sites; embeddings and the head are in no block.

    Raises:
        TargetingError: The blocks hold a matrix of an unknown name; all of those are listed.
    """
    sites: list[Site] = []
    unknown: list[str] = []
    for index, (block_path, block) in enumerate(decoder_blocks(model).items()):
        for path, module in block.named_modules():
            found = [
                replace(site, block=index, path=f"{block_path}.{site.path}")
                for site in _module_sites(path, module)
            ]
            sites += found
            if not found and _has_matrix(module):
                unknown.append(path or block_path)
    if unknown or not sites:
        raise TargetingError(
            f"the blocks of this {type(model).__name__} have matrices of unknown names: "
            f"{listed(dict.fromkeys(unknown)) or 'none at all'}; known are "
            f"{', '.join(_ATTENTION)} in attention, {', '.join(_MLP)} in the mlp, 3-D parameters "
            "of experts, and routers. Pass a peft.LoraConfig with the full paths of your modules"
        )
    return sites


def _module_sites(path: str, module: nn.Module) -> Iterator[Site]:
    """The sites a module is or holds, with its path inside the block and block number 0."""
    leaf = path.rpartition(".")[2]
    if leaf in _ROUTERS and type(module) is not nn.Linear and _own_parameters(module, num_axes=2):
        yield from _router_sites(path, module)  # a linear layer's kin may return more than logits
    elif isinstance(module, nn.Linear | Conv1D):
        kind, name = _linear_name(path)
        if name is not None:
            yield Site(
                block=0,
                kind=kind,
                name=name,
                path=path,
                is_parameter=False,
                in_features=module.nx if isinstance(module, Conv1D) else module.in_features,
                out_features=module.nf if isinstance(module, Conv1D) else module.out_features,
            )
    elif leaf == "experts":
        yield from _expert_sites(path, module)


def _linear_name(path: str) -> tuple[str, str | None]:
    """Kind and name of a linear module; no name if there is none for it."""
    parent, _, leaf = path.rpartition(".")
    parts = parent.split(".")
    if leaf in _ROUTERS:
        return "router", "router"
    if "attn" in parts[0]:
        return "attention", _ATTENTION.get(leaf)
    if parts[0] == "mlp" and "experts" not in parts:
        return "mlp", _MLP.get(leaf)
    return "", None


def _expert_sites(path: str, module: nn.Module) -> Iterator[Site]:
    # Stored (experts, in, out) where the model says `is_transposed`, else (experts, out, in)
    is_transposed = getattr(module, "is_transposed", False)
    stacks = {name: parameter.shape for name, parameter in _own_parameters(module, num_axes=3)}
    for name, shape in (module.shapes if isinstance(module, PackedExperts) else stacks).items():
        num_experts, rows, columns = shape
        yield Site(
            block=0,
            kind="experts",
            name="experts",
            path=f"{path}.{name}",
            is_parameter=True,
            in_features=rows if is_transposed else columns,
            out_features=columns if is_transposed else rows,
            num_experts=num_experts,
        )


def _router_sites(path: str, module: nn.Module) -> Iterator[Site]:
    for name, parameter in _own_parameters(module, num_axes=2):
        yield Site(
            block=0,
            kind="router",
            name="router",
            path=f"{path}.{name}",
            is_parameter=True,
            in_features=parameter.shape[1],
            out_features=parameter.shape[0],
        )


def _own_parameters(module: nn.Module, num_axes: int) -> list[tuple[str, nn.Parameter]]:
    return [
        (name, parameter)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == num_axes and parameter.is_floating_point()
    ]


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))
