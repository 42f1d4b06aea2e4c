"""Parts of an adapter: one place alone, all but one, or the whole by some factor.

LoRA adds s B A x to what a matrix makes of x, so a place is switched off by a factor of 0 on s, and
nothing of it is trained or changed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from peft import PeftModel

from distmatch.errors import ConfigError
from distmatch.models.attaching import adapted_layers
from distmatch.models.blocks import Site

ALL, NONE, ONLY, WITHOUT, TIMES = "all", "none", "only", "without", "times"


class Place(NamedTuple):
    """What stands in one block for one kind of site."""

    block: int
    site: str
    """One of `distmatch.models.blocks.KINDS`."""

    @property
    def name(self) -> str:
        """As an expression of `distmatch.models.lora`."""
        return f"{self.site}@{self.block}"


class Part(NamedTuple):
    """How far each place of an adapter is switched on."""

    kind: str
    """One of the five above."""
    place: Place | None = None
    """Of `ONLY` and `WITHOUT`."""
    times: float = 1.0
    """Of `TIMES`."""

    @property
    def name(self) -> str:
        """In words, which name its report's folder too."""
        if self.place is not None:
            return f"{self.kind} {self.place.name}"
        return f"{self.kind} {self.times:g}" if self.kind == TIMES else self.kind

    @classmethod
    def named(cls, name: str) -> "Part":
        """The part of that name.

        Raises:
            ValueError: There is none.
        """
        kind, _, which = name.partition(" ")
        if kind in (ONLY, WITHOUT):
            site, _, block = which.rpartition("@")
            return cls(kind, Place(int(block), site))
        if kind == TIMES:
            return cls(kind, times=float(which))
        if name not in (ALL, NONE):
            raise ValueError(f'no part of an adapter is called "{name}"')
        return cls(kind)

    def factor(self, place: Place) -> float:
        """By which a place's update is multiplied."""
        factors = {ALL: 1.0, NONE: 0.0, TIMES: self.times}
        if self.place is None:
            return factors[self.kind]
        return float((place == self.place) == (self.kind == ONLY))


def parts_of(places: Sequence[Place], times: Sequence[float] = ()) -> list[Part]:
    """The whole and nothing; each place alone and all but each, the lowest first; the factors."""
    single = [Part(kind, place) for kind in (ONLY, WITHOUT) for place in sorted(places)]
    return [Part(ALL), Part(NONE), *single, *(Part(TIMES, times=factor) for factor in times)]


class LoraPlaces:
    """The LoRA layers of an adapter by their places.

    Args:
        adapted: The model with one adapter.
        sites: Of the model, as they were found before it had an adapter.

    Raises:
        ConfigError: The adapter isn't LoRA on sites of the model's blocks, or there are several.
    """

    def __init__(self, adapted: PeftModel, sites: Sequence[Site]) -> None:
        """Find them."""
        base = adapted.get_base_model()
        place_of = {site.path: Place(site.block, site.kind) for site in sites}
        self._layers: list[tuple[Place, Any]] = []
        for layer, path in adapted_layers(base).items():
            if path not in place_of:
                raise ConfigError(
                    f"the adapter has a LoRA on {path}, which is in no block: only adapters of "
                    "blocks can be taken apart"
                )
            self._layers.append((place_of[path], base.get_submodule(layer)))
        names = list(adapted.peft_config)
        if not self._layers or len(names) != 1:
            raise ConfigError(
                f"the model has the adapters {names} with {len(self._layers)} LoRA layers: give "
                "one adapter of LoRA"
            )
        self._name = names[0]

    @property
    def places(self) -> list[Place]:
        """Each once, the lowest first."""
        return sorted({place for place, _ in self._layers})

    @contextmanager
    def scaled(self, factor: Callable[[Place], float]) -> Iterator[None]:
        """Inside, the update of each place is so many times what it is."""
        own = [layer.scaling[self._name] for _, layer in self._layers]
        try:
            for (place, layer), scaling in zip(self._layers, own, strict=True):
                layer.scaling[self._name] = scaling * factor(place)
            yield
        finally:
            for (_, layer), scaling in zip(self._layers, own, strict=True):
                layer.scaling[self._name] = scaling
