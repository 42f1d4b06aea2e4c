"""Which runs a sweep is made of: sites x blocks x learning rates x seeds, each a cell.

| blocks | mean |
|---|---|
| `every` | each block that has the site, alone |
| `every-3` | of the first block, and each third one after it, those that have it, alone |
| `quarters`, `halves` | the parts of the depth |
| `from-bottom` | the first quarter, the first half, the first three quarters, all |
| `from-top` | the last quarter, the last half, the last three quarters, all |
| `all` | all blocks together |
| `12`, `0-7`, `last-quarter` | as in `distmatch.models.lora` |
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

from transformers import PreTrainedModel

from distmatch.errors import ConfigError, TargetingError, unknown_name
from distmatch.models.blocks import Site
from distmatch.models.lora import LoraTarget, resolve

MATCHES = ("rank", "parameters")
"""What cells of different sites have alike: the rank of each matrix's LoRA, or, as nearly as whole
ranks allow, the number of parameters a block."""

_EVERY = re.compile(r"every(?:-(\d+))?")
_QUARTERS = ("first-quarter", "second-quarter", "third-quarter", "last-quarter")


class CellPlace(NamedTuple):
    """Where a cell learns, which cells of other seeds and learning rates may share."""

    site: str
    blocks: str
    """As numbers: `"12"`, `"0-7"`, `"0,3,6"`."""
    rank: int

    @property
    def name(self) -> str:
        """Site and blocks, as an expression of `distmatch.models.lora`."""
        return f"{self.site}@{self.blocks}"

    @property
    def is_single(self) -> bool:
        """Whether it is one block alone."""
        return len(self.numbers) == 1

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of its blocks."""
        numbers: list[int] = []
        for part in self.blocks.split(","):
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
        return tuple(numbers)


@dataclass(frozen=True, slots=True)
class Cell:
    """One training run of a sweep."""

    site: str
    blocks: str
    """As numbers: `"12"`, `"0-7"`."""
    seed: int
    rank: int
    learning_rate: float
    lowest: int
    """The lowest block that learns."""
    parameters: int
    """How many numbers learn."""

    @property
    def name(self) -> str:
        """What it is called in tables, and its folder."""
        settings = f"rank{self.rank}-lr{self.learning_rate}-seed{self.seed}"
        return f"{self.place.name}-{settings}"

    @property
    def place(self) -> CellPlace:
        """Where it learns."""
        return CellPlace(self.site, self.blocks, self.rank)

    @property
    def target(self) -> LoraTarget:
        """Its weights."""
        return LoraTarget(self.place.name, self.rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a sweep varies.

    Raises:
        ConfigError: Nothing to vary over, or a value that can't be used.
        TargetingError: A site that is unknown.
    """

    sites: Sequence[str] = ("attention", "mlp")
    """In the language of `distmatch.models.lora`: kinds, single sites, or several with commas."""
    blocks: Sequence[str] = ("every",)
    """In the language of this module."""
    seeds: Sequence[int] = (0,)
    """Of a cell's first weights and of the order of its data."""
    rank: int = 16
    """Of the first site, and of all where ranks are matched."""
    match: Sequence[str] = ("rank",)
    """One or both of `MATCHES`."""
    learning_rates: Mapping[str, Sequence[float]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """By site, where they aren't that of the other settings; each is tried wherever the site is."""

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        self._check_lists()
        for match in self.match:
            if match not in MATCHES:
                raise ConfigError(unknown_name("match", match, MATCHES))
        for site in self.sites:
            LoraTarget(site, self.rank)
            if "@" in site or "+" in site:
                raise TargetingError(f'the site "{site}" names blocks or several terms: see blocks')
        self._check_learning_rates()

    def _check_lists(self) -> None:
        for name in ("sites", "blocks", "seeds", "match"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise ConfigError(f"{name} is {given!r}: give a list")
            if not given:
                raise ConfigError(f"the grid is empty: {name} names nothing")
        for name in ("sites", "blocks"):
            for value in getattr(self, name):
                if not isinstance(value, str):
                    raise ConfigError(f'{name} holds {value!r}, expected strings such as "3"')
        for seed in self.seeds:
            if type(seed) is not int or seed < 0:
                raise ConfigError(f"seeds holds {seed!r}, expected whole numbers, 0 or more")

    def _check_learning_rates(self) -> None:
        if not isinstance(self.learning_rates, Mapping):
            raise ConfigError(
                f"learning_rates is {self.learning_rates!r}: give lists by site, as in "
                '{"mlp": [1e-3, 3e-3]}'
            )
        known = list(dict.fromkeys((*self.sites, "all")))
        for name, rates in self.learning_rates.items():
            if name not in known:
                raise ConfigError(unknown_name("site in learning_rates", str(name), known))
            _check_rates_of(name, rates)

    def cells(self, model: PreTrainedModel, learning_rate: float) -> list[Cell]:
        """The grid's cells and, to hold them against, `all`; those with the lowest blocks first.

        Args:
            model: Without an adapter.
            learning_rate: Of sites that have none of their own.

        Raises:
            ConfigError: Blocks that can't be read.
            TargetingError: Blocks or sites that the model doesn't have.
        """
        found: dict[str, Cell] = {}
        for place in self._places(model):
            learning = resolve(LoraTarget(place.name, place.rank), model)
            rates = self.learning_rates.get(place.site, [learning_rate])
            for rate, seed in product(rates, self.seeds):
                cell = _cell(learning, place, seed, float(rate))
                found[cell.name] = cell
        return sorted(found.values(), key=lambda cell: (cell.lowest, cell.name))

    def _places(self, model: PreTrainedModel) -> list[CellPlace]:
        """With blocks as `distmatch.models.lora` calls them."""
        num_blocks = 1 + max(site.block for site in resolve(LoraTarget("block"), model))
        places = [CellPlace("all", ":", self.rank)]  # what all others are held against
        for match, site in product(self.match, self.sites):
            rank = self._rank(site, match, model)
            spans = self._spans(site, model, num_blocks)
            places += [CellPlace(site, span, rank) for span in spans]
        return places

    def _rank(self, site: str, match: str, model: PreTrainedModel) -> int:
        if match == "rank" or site == self.sites[0]:
            return self.rank
        wanted = _block_size(resolve(LoraTarget(self.sites[0], self.rank), model), self.rank)
        return max(1, round(wanted / _block_size(resolve(LoraTarget(site, 1), model), 1)))

    def _spans(self, site: str, model: PreTrainedModel, num_blocks: int) -> list[str]:
        having = {one.block for one in resolve(LoraTarget(site), model)}
        return [
            span
            for item in self.blocks
            for span in _spans(item, num_blocks)
            if not _EVERY.fullmatch(item) or int(span) in having
        ]


def _check_rates_of(site: str, rates: object) -> None:
    if not isinstance(rates, Sequence) or isinstance(rates, str | bytes) or not rates:
        raise ConfigError(f"the learning rates of {site} are {rates!r}: give a list")
    for rate in rates:
        is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
        if not is_number or not 0 < rate < math.inf:
            raise ConfigError(f"a learning rate of {site} is {rate!r}, expected a number above 0")


def _block_size(learning: Sequence[Site], rank: int) -> float:
    """LoRA parameters of a block that has the site."""
    return sum(one.lora_size(rank) for one in learning) / len({one.block for one in learning})


def _spans(item: str, num_blocks: int) -> list[str]:
    """What an item of `blocks` stands for, in the language of `distmatch.models.lora`."""
    if step := _EVERY.fullmatch(item):
        every = int(step[1] or 1)
        if every < 1:
            raise ConfigError(f'the blocks "{item}" have no step: write every-2 or more')
        return [str(block) for block in range(0, num_blocks, every)]
    quarter = num_blocks // 4
    named = {
        "quarters": list(_QUARTERS),
        "halves": ["first-half", "last-half"],
        "from-bottom": ["first-quarter", "first-half", f":{num_blocks * 3 // 4}", ":"],
        "from-top": ["last-quarter", "last-half", f"{quarter}:", ":"],
        "all": [":"],
    }
    return named.get(item, [item])


def _cell(learning: list[Site], place: CellPlace, seed: int, rate: float) -> Cell:
    numbers = sorted({one.block for one in learning})
    first, last = numbers[0], numbers[-1]
    if numbers == list(range(first, last + 1)):
        blocks = str(first) if first == last else f"{first}-{last}"
    else:
        blocks = ",".join(map(str, numbers))
    parameters = sum(one.lora_size(place.rank) for one in learning)
    return Cell(place.site, blocks, seed, place.rank, rate, first, parameters)
