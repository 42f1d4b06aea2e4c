"""Which weights may learn: an expression such as `"mlp@15-29"`, made exact.

An expression is `SITES` or `SITES@BLOCKS`; several are joined by `+`, and overlaps count once.

| sites | mean |
|---|---|
| `attention`, `mlp`, `experts`, `router` | every site of that kind |
| `all` | attention, mlp and experts, but not the router |
| `block` | everything adaptable in the block, the router too |
| `q`, `k`, `v`, `o`, `gate`, `up`, `down` | that one; in a mixture, its shared expert's |
| `qkv` | that one, where a model fuses the three |
| `q_a`, `q_b`, `kv_a`, `kv_b` | DeepSeek's projections into and out of its latents |
| `q,v` | several of the above |

| blocks | mean |
|---|---|
| `12`, `-1` | that one, from the end if negative |
| `0-7` | first and last included |
| `-4:`, `:8`, `4:12` | as Python slices: the end is left out |
| `first-quarter` to `last-quarter`, `first-half`, `last-half` | that part of the depth |
| `0,7,12-15` | several of the above |
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from transformers import PreTrainedModel

from distmatch.errors import ConfigError, TargetingError, listed, unknown_name
from distmatch.models.blocks import FUSED, KINDS, NAMES, Site, adaptable_sites
from distmatch.models.footprint import num_parameters

_GROUPS = {"all": ("attention", "mlp", "experts"), "block": KINDS} | {
    kind: (kind,) for kind in KINDS
}
_PARTS = {
    "first-quarter": (0, 1),
    "second-quarter": (1, 2),
    "third-quarter": (2, 3),
    "last-quarter": (3, 4),
    "first-half": (0, 2),
    "last-half": (2, 4),
}
_NUMBER = re.compile(r"-?\d+")
_RANGE = re.compile(r"(\d+)-(\d+)")
_SLICE = re.compile(r"(?:-?\d+)?:(?:-?\d+)?")


@dataclass(frozen=True, slots=True)
class LoraTarget:
    """Which weights learn, and with how large a LoRA.

    Raises:
        TargetingError: The expression can't be read.
        ConfigError: A rank, alpha or dropout out of its range.
    """

    expression: str
    """In the language of this module: `"mlp@15-29"`, `"q,v + experts@last-quarter"`."""
    rank: int = 16
    alpha: float | None = None
    """The update is scaled by alpha / rank. None: twice the rank."""
    dropout: float = 0.0
    """Of the LoRA's input while training; impossible on experts and routers."""

    def __post_init__(self) -> None:
        """Check everything that can be checked without a model."""
        _terms(self.expression)
        if self.rank < 1:
            raise ConfigError(f"rank must be at least 1, got {self.rank}")
        if self.alpha is not None and not self.alpha > 0:
            raise ConfigError(f"alpha must be above 0, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout}")


def lora(
    expression: str, rank: int = 16, *, alpha: float | None = None, dropout: float = 0.0
) -> LoraTarget:
    """The weights an expression names, to be adapted by a LoRA; checked against a model later.

    Args:
        expression: In the language of `distmatch.models.lora`: `"mlp@15-29"`, `"all"`.
        rank: Of every site's LoRA; of each expert's, on experts.
        alpha: The update is scaled by alpha / rank. None: twice the rank.
        dropout: Of the LoRA's input while training; impossible on experts and routers.

    Raises:
        TargetingError: The expression can't be read.
        ConfigError: A rank, alpha or dropout out of its range.

    Example:
        >>> lora("q,v@-4:", rank=8)
        LoraTarget(expression='q,v@-4:', rank=8, alpha=None, dropout=0.0)
    """
    return LoraTarget(expression, rank, alpha, dropout)


def resolve(target: LoraTarget, model: PreTrainedModel) -> list[Site]:
    """The sites a target names in this model, in the model's order, each once.

    Raises:
        TargetingError: A block doesn't exist, or a named site isn't in one of the named blocks.
    """
    sites = adaptable_sites(model)
    model_name = type(model).__name__
    chosen: set[Site] = set()
    for term in _terms(target.expression):
        chosen |= _term_sites(term, sites, model_name)
    return [site for site in sites if site in chosen]


def target_table(target: LoraTarget, model: PreTrainedModel) -> str:
    """What would be trained, as text: one row for each kind of site, and the total.

    Blocks that hold the same site share a row; `*` stands for their numbers in its path.

    Raises:
        TargetingError: As `resolve`.
    """
    sites = resolve(target, model)
    groups: dict[tuple[str, str, str], list[Site]] = {}
    for site in sites:
        path = re.sub(rf"\.{site.block}\.", ".*.", site.path)
        groups.setdefault((site.name, path, _shape(site)), []).append(site)
    rows = [("site", "blocks", "path", "in x out", "LoRA parameters")]
    for (name, path, shape), members in groups.items():
        size = sum(site.lora_size(target.rank) for site in members)
        blocks = spans(site.block for site in members)
        path = members[0].path if len(members) == 1 else path
        rows.append((name, blocks, path, shape, f"{size:,}"))
    total = sum(site.lora_size(target.rank) for site in sites)
    return (
        _aligned(rows)
        + f"\n{len(sites)} sites in {_named({site.block for site in sites})}: "
        + f"{total:,} LoRA parameters of rank {target.rank}, "
        + f"{total / num_parameters(model):.3%} of the model's {num_parameters(model):,}"
    )


@dataclass(frozen=True, slots=True)
class _Term:
    """`SITES@BLOCKS`, read but not yet held against a model."""

    words: tuple[str, ...]
    blocks: tuple[str, ...]
    """As written; none where the term names no blocks."""


@lru_cache(maxsize=64)
def _terms(expression: str) -> tuple[_Term, ...]:
    return tuple(_term(text.strip(), expression) for text in expression.split("+"))


def _term(text: str, expression: str) -> _Term:
    sites, at, blocks = text.partition("@")
    words = tuple(word.strip() for word in sites.split(","))
    items = tuple(item.strip() for item in blocks.split(",")) if at else ()
    if not all((*words, *items)):
        raise TargetingError(
            f'something is missing around "{text}" in "{expression}"; expected SITES or '
            "SITES@BLOCKS, joined by +, such as mlp@15-29 or q,v@-4:+experts@12"
        )
    for word in words:
        if word not in _GROUPS and word not in NAMES:
            raise TargetingError(unknown_name("site", word, [*_GROUPS, *NAMES]))
    for item in items:
        _check_blocks(item)
    return _Term(words, items)


def _check_blocks(item: str) -> None:
    span = _RANGE.fullmatch(item)
    if span and int(span[1]) > int(span[2]):
        raise TargetingError(f'the blocks "{item}" run backwards: write {span[2]}-{span[1]}')
    if span or item in _PARTS or _NUMBER.fullmatch(item) or _SLICE.fullmatch(item):
        return
    if any(character.isalpha() for character in item):
        raise TargetingError(unknown_name("part of the depth", item, _PARTS))
    raise TargetingError(
        f'can\'t read the blocks "{item}": expected such as 12, -1, 0-7, -4:, :8, 4:12, '
        "last-quarter, or several of them with commas between"
    )


def _term_sites(term: _Term, sites: list[Site], model_name: str) -> set[Site]:
    blocks = _existing_blocks(term, sites[-1].block + 1, model_name)
    chosen: set[Site] = set()
    for word in term.words:
        matched = {
            site for site in sites if site.block in blocks and is_named(word, site.kind, site.name)
        }
        without = blocks - {site.block for site in matched}
        if without and (term.blocks or not matched):
            raise TargetingError(_no_match(word, without, sites, model_name))
        chosen |= matched
    return chosen


def _existing_blocks(term: _Term, num_blocks: int, model_name: str) -> set[int]:
    existing = f"this {model_name} has {num_blocks}, numbered 0-{num_blocks - 1}"
    blocks: set[int] = set()
    for item in term.blocks or (":",):
        numbers = _block_numbers(item, num_blocks)
        if not numbers:
            raise TargetingError(f'"{item}" names no block: {existing}')
        blocks.update(numbers)
    if missing := {block for block in blocks if not 0 <= block < num_blocks}:
        as_written = {block - num_blocks if block < 0 else block for block in missing}
        raise TargetingError(f"blocks [{spans(as_written)}] do not exist: {existing}")
    return blocks


def _block_numbers(item: str, num_blocks: int) -> range:
    """The numbers an item stands for; below 0 or too high where it asks for too much."""
    if item in _PARTS:
        first, last = _PARTS[item]
        return range(num_blocks * first // 4, num_blocks * last // 4)
    if span := _RANGE.fullmatch(item):
        return range(int(span[1]), int(span[2]) + 1)
    start, colon, stop = item.partition(":")
    first = _from_start(int(start or 0), num_blocks)
    if not colon:
        return range(first, first + 1)
    return range(first, _from_start(int(stop), num_blocks) if stop else num_blocks)


def _from_start(number: int, num_blocks: int) -> int:
    return number + num_blocks if number < 0 else number


def is_named(word: str, kind: str, name: str) -> bool:
    """Whether a word of an expression means a site.

    Args:
        word: Such as `"all"`, `"mlp"` or `"q"`.
        kind: The site's, one of `blocks.KINDS`.
        name: The site's, one of `blocks.NAMES`; experts and routers are called after their kind.
    """
    return kind in _GROUPS[word] if word in _GROUPS else name == word


def _no_match(word: str, blocks: set[int], sites: list[Site], model_name: str) -> str:
    """The sentence for a site that isn't in these blocks, with what is in the first of them."""
    names = list(dict.fromkeys(site.name for site in sites if site.block == min(blocks)))
    for fused, parts in FUSED.items():
        if word in parts and fused in names:
            path = next(site.path for site in sites if site.name == fused)
            return (
                f"this {model_name} fuses {', '.join(parts)} in one matrix "
                f'({path.rpartition(".")[2]}): ask for "{fused}" instead of "{word}"'
            )
    whose = "its" if len(blocks) == 1 else "their"
    return f'"{word}" matched nothing in {_named(blocks)}; {whose} sites are: {listed(names)}'


def spans(numbers: Iterable[int]) -> str:
    """Sorted, with three or more in a row as first-last: `0-3, 7`; `-7 to -5` below 0.

    Args:
        numbers: In any order; one that comes twice counts once.
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(
        f"{run[0]}{'-' if run[0] >= 0 else ' to '}{run[-1]}"
        if len(run) > 2
        else ", ".join(map(str, run))
        for run in runs
    )


def _named(blocks: set[int]) -> str:
    return f"block {min(blocks)}" if len(blocks) == 1 else f"blocks {spans(blocks)}"


def _shape(site: Site) -> str:
    stack = f"{site.num_experts} x " if site.num_experts else ""
    return f"{stack}{site.in_features} x {site.out_features}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns to the left, the last one (numbers) to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([*map(str.ljust, row[:-1], widths), row[-1].rjust(widths[-1])]) for row in rows
    )
