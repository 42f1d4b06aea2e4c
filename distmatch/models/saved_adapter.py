"""What an adapter's folder says of it: read from its files, without a model."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub.utils import HFValidationError, validate_repo_id
from safetensors import safe_open

from distmatch.models.base_record import FILE
from distmatch.models.embedded import EMBEDDED_HUB_ID, EMBEDDED_NAME, is_embedded
from distmatch.models.gguf import ConvertedFrom
from distmatch.models.lora import spans

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_IN_BLOCK = re.compile(r"\.(\d+)\.(.+)")


class AdaptedSites(NamedTuple):
    """Sites of one kind over the blocks that have them."""

    site: str
    """The path inside a block, such as `self_attn.q_proj`; the whole path of what is in none."""
    blocks: str
    """Such as `0-3, 7`; empty: in none."""
    parameters: int


@dataclass(frozen=True, kw_only=True)
class SavedAdapter:
    """An adapter in a folder."""

    config: Mapping[str, Any]
    """PEFT's."""
    base: Mapping[str, Any]
    """As `base_record` has it; empty where nothing recorded it."""
    sizes: Mapping[str, int]
    """Parameters by the weights' names."""

    @classmethod
    def read(cls, folder: str | Path) -> "SavedAdapter | None":
        """The adapter, or None where the folder doesn't hold a whole one."""
        folder = Path(folder)
        if not all((folder / name).is_file() for name in (_CONFIG, _WEIGHTS)):
            return None
        with safe_open(folder / _WEIGHTS, framework="np") as tensors:
            sizes = {
                name: prod(tensors.get_slice(name).get_shape())
                for name in tensors.keys()  # noqa: SIM118 (it is no dict)
            }
        record = folder / FILE
        return cls(
            config=json.loads((folder / _CONFIG).read_text(encoding="utf-8")),
            base=json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {},
            sizes=sizes,
        )

    @property
    def kind(self) -> str:
        """PEFT's word for it, such as "LORA"."""
        return str(self.config.get("peft_type", ""))

    @property
    def base_name(self) -> str:
        """What `dm.load_model` takes, without the folders in which it lay."""
        given = self._given_name
        if is_embedded(given):
            return EMBEDDED_NAME
        if self.base_file is not None:
            return self.base_file.name
        return given if self.base_id else Path(given).name

    @property
    def base_file(self) -> ConvertedFrom | None:
        """The GGUF file that the base is, if it is one."""
        return ConvertedFrom.of(self._given_name)

    @property
    def base_id(self) -> str | None:
        """The base's id on the hub, if it has one."""
        given = self._given_name
        if is_embedded(given):
            return EMBEDDED_HUB_ID
        try:
            validate_repo_id(given)
        except HFValidationError:
            return None
        return given if "/" in given and not Path(given).exists() else None

    @property
    def _given_name(self) -> str:
        return str(self.base.get("name") or self.config.get("base_model_name_or_path") or "")

    @property
    def has_experts(self) -> bool:
        """Whether stacks of experts are adapted."""
        return any(row.site.endswith("experts") for row in self.sites)

    @property
    def sites(self) -> list[AdaptedSites]:
        """A row for each kind of site, in the order of their paths."""
        found: dict[str, dict[int | None, int]] = {}
        for name, size in self.sizes.items():
            site, block = _site_of(name)
            blocks = found.setdefault(site, {})
            blocks[block] = blocks.get(block, 0) + size
        return [
            AdaptedSites(site, spans(b for b in blocks if b is not None), sum(blocks.values()))
            for site, blocks in sorted(found.items())
        ]


def _site_of(name: str) -> tuple[str, int | None]:
    """Site and block of a weight, by its name; further numbers, as of experts, are alike."""
    path = name.removeprefix("base_model.model.")
    path = path.split(".lora_")[0] if ".lora_" in path else path.rpartition(".")[0]
    # Wrappers of several parameters of one module are nested, each the next one's base_layer
    path = path.replace(".base_layer", "")
    in_block = _IN_BLOCK.search(path)
    if in_block is None:
        return path, None
    return re.sub(r"\.\d+\b", ".*", in_block[2]), int(in_block[1])
