"""`distmatch eval --models FILE`: families of base and instruct models, one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_type_hints

from distmatch import plots
from distmatch.cli.evaluation import evaluate_source
from distmatch.errors import ConfigError, DistmatchError
from distmatch.evals.local_source import LocalSource
from distmatch.evals.model_lists import (
    KINDS,
    Column,
    MeasuredModel,
    columns,
    model_table,
    trend_table,
)
from distmatch.evals.subject import Capability
from distmatch.evals.suite import Suite, check_suites
from distmatch.files import check_folder, write_text
from distmatch.measuring.intervals import Interval
from distmatch.models.choice import ModelChoice
from distmatch.plots import drawn
from distmatch.progress import phase, say, work
from distmatch.tables import check_keys, read_toml, require_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A table [[family]] of a model list."""

    name: str
    size: float
    """Billions of parameters."""
    base: str | None = None
    """A directory or a hub id."""
    instruct: str | None = None
    quantization: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without loading."""
        if not self.choices:
            raise ConfigError(f'the family "{self.name}" has neither "base" nor "instruct"')
        if self.size <= 0:
            raise ConfigError(f'the size of "{self.name}" is {self.size}, expected billions')

    @property
    def choices(self) -> dict[str, ModelChoice]:
        """Its models by kind."""
        how = {"quantization": self.quantization, "dtype": self.dtype}
        named = {kind: getattr(self, kind) for kind in KINDS}
        return {
            # Some base models have a template too
            kind: ModelChoice(name=name, template=kind != "base", **how)
            for kind, name in named.items()
            if name
        }


def read_families(path: str | Path) -> list[Family]:
    """The families of a model list.

    Raises:
        ConfigError: A file, table or value that can't be used.
    """
    tables = read_toml(path)
    listed = tables.pop("family", None)
    if tables or not isinstance(listed, list) or not listed:
        raise ConfigError(f"{path} holds {list(tables) or 'no models'}: list [[family]] tables")
    families = []
    for number, table in enumerate(listed, start=1):
        section = f"family {number}"
        check_keys(section, table, get_type_hints(Family))
        require_keys(section, table, ["name", "size"])
        families.append(Family(**table))
    names = [family.name for family in families]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f'{path} has two families of the name "{twice[0]}": rename one')
    return families


def evaluate_list(
    path: str | Path,
    suites: Sequence[Suite],
    *,
    out: str | Path,
    batch_size: int = 32,
    seed: int = 0,
) -> None:
    """Measure every model of a list; print, and leave in `out`, the table of all.

    Every model has a folder of its own, as `evaluate_source` leaves it; what is there is not
    measured again. A model that can't be measured doesn't stop the others. Base models are asked
    without a chat template, also where their tokenizer has one.

    Args:
        path: The list, TOML.
        suites: What they are asked.
        out: Where the folders, models.txt and figures go.
        batch_size: Prompts a forward.
        seed: Of what suites draw.

    Raises:
        ConfigError: A list that can't be used; or, in the end, models that couldn't be measured.
    """
    out = Path(out)
    check_folder(out, "--out")
    families = read_families(path)
    check_suites(suites, frozenset(Capability))
    failed: dict[str, str] = {}
    measured: list[MeasuredModel] = []
    models = [(family, kind) for family in families for kind in family.choices]
    names = [f"{family.name}, {kind}" for family, kind in models]
    with work("measuring", names, stays=False):
        for name, (family, kind) in zip(names, models, strict=True):
            choice = family.choices[kind]
            say(f"== {name}: {choice.name}")
            source = LocalSource(choice=choice, batch_size=batch_size, seed=seed)
            try:
                with phase(name):
                    reports = evaluate_source(source, suites, out / f"{family.name}-{kind}")
            except (DistmatchError, OSError, RuntimeError) as error:
                failed[name] = str(error)
                say(f"not measured: {error}\n")
            else:
                measured.append(MeasuredModel(family.name, family.size, kind, reports))
    if measured:
        listed = columns(measured, suites)
        told = f"{model_table(measured, listed)}\n\n{trend_table(measured, listed)}\n"
        print(told)
        write_text(out / "models.txt", told)
        print("\n".join(_figures(measured, listed, out)))
    if failed:
        told = "\n".join(f"{name}: {reason}" for name, reason in failed.items())
        raise ConfigError(f"{len(failed)} models could not be measured:\n{told}")


def _figures(measured: Sequence[MeasuredModel], listed: Sequence[Column], out: Path) -> list[str]:
    """A figure of each metric, families in the order of their sizes."""
    ordered = sorted(measured, key=lambda model: model.size)
    told = []
    for suite, metric in listed:
        series: dict[str, dict[str, Interval]] = {}
        for model in ordered:
            if suite in model.reports:
                interval = model.reports[suite].metrics[metric]
                series.setdefault(model.kind, {})[f"{model.name} ({model.size:g}B)"] = interval
        path = out / f"{suite}-{metric}.png"
        told.append(drawn(path, partial(_draw, series, metric)))
    return told


def _draw(series: Mapping[str, Mapping[str, Interval]], metric: str, path: Path) -> None:
    plots.groups(series, metric, path=path)
