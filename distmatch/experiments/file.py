"""An experiment of your own, from a TOML file.

Sections: `[experiment]` (name, question, rule, primary, taught, and settings of training),
`[units.NAME]` (arm, behaviour, rows, formats, acts, system; adapter) and `[probes.NAME]` (kind, and
what a probe of that kind takes). Rows are JSONL files beside it; paraphrases are lists, or the name
of a JSONL file of strings. An adapter that is there already is a folder, from that of the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from distmatch.data.jsonl import file_content, json_values, read_jsonl
from distmatch.errors import ConfigError, DataError, refused_together, shown, unknown_name
from distmatch.evals import Report, Suite
from distmatch.evals.suites.probes import (
    OptionsProbe,
    OwnProbe,
    Probe,
    ScaleProbe,
    WordsProbe,
    WrittenProbe,
)
from distmatch.evals.suites.probes.own import ClosedQuestion
from distmatch.experiments.arms import ARMS, LEARNING_ARMS, TOLD, TRAINED, Unit
from distmatch.experiments.experiment import Experiment, Primary, Values
from distmatch.measuring.correlation import rank_correlation
from distmatch.tables import check_keys, read_tables, require_keys

KINDS: dict[str, type[Probe | OwnProbe | WrittenProbe]] = {
    "words": WordsProbe,
    "scale": ScaleProbe,
    "options": OptionsProbe,
    "written": WrittenProbe,
    "own": OwnProbe,
}
"""Kinds of probes, as a file calls them."""

_SETTINGS = (
    *("steps", "batch_size", "learning_rate", "target", "rank", "precision", "seed"),
    *("thinking", "thoughts", "thought_tokens"),
)
_NEEDED = ("name", "question", "rule", "primary", "taught")
_ROW_FILES = ("rows", "formats", "acts")
_PARAPHRASES = ("asked", "referent", "reader")
_OTHERWISE: dict[str, Any] = {
    **dict.fromkeys(_PARAPHRASES, str | list[str]),
    "shown": str,
    "questions": list[dict[str, Any]],
}
"""What a file writes in another way than Python does."""


@dataclass(frozen=True, kw_only=True)
class OwnExperiment(Experiment):
    """One that a file describes."""

    name: str = "own"
    question: str = ""
    rule: str = ""
    arms: tuple[str, ...] = tuple(ARMS)
    given_units: tuple[Unit, ...] = ()
    given_probes: tuple[Suite, ...] = ()
    given_primary: Primary | None = None
    most_distance: float | None = None
    """An adapter is taught whose behaviour is no further from what was drawn for it,"""
    least_rank: float | None = None
    """or all are, where behaviour and what was drawn have such a rank correlation."""

    def draw_units(self) -> tuple[Unit, ...]:
        """Those of the file."""
        return self.given_units

    def probes(self) -> tuple[Suite, ...]:
        """Those of the file."""
        return self.given_probes

    @property
    def primary(self) -> Primary:
        """The file's."""
        assert self.given_primary is not None
        return self.given_primary

    def behaviour(self, report: Report) -> Values:
        """The mean share of the first word; of a contrast of several figures, of every word."""
        if len(self.primary.figures) == 1:
            return super().behaviour(report)
        shares = [list(said["shares"].values()) for said in report.items.said]
        return np.mean(shares, axis=0)

    def check(self) -> None:
        """See `Experiment`.

        Raises:
            ConfigError: And a behaviour, or acts, that don't have the contrast's number of parts;
                or the same behaviour of all.
        """
        super().check()
        count = len(self.primary.figures)
        drawn = {u.name: u.behaviour for u in self.units if u.arm in (*LEARNING_ARMS, TOLD)}
        for name, behaviour in drawn.items():
            if len(behaviour) != count:
                raise ConfigError(
                    f"units.{name}.behaviour has {len(behaviour)} numbers, and the primary "
                    f"contrast {count} figures: give as many"
                )
        for unit in self.units:
            if count > 1 and any(len(act.target.words) != count for act in unit.acts):
                raise ConfigError(
                    f"units.{unit.name}.acts have other numbers of words than the primary "
                    f"contrast figures, {count}: a word a figure"
                )
        if len(drawn) > 1 and len(set(drawn.values())) == 1:
            raise ConfigError("all units have the same behaviour, so nothing can be exchanged")

    def taught(self, drawn: Sequence[Values], measured: Sequence[Values]) -> list[bool]:
        """By the largest distance, or by rank correlation over the adapters."""
        if self.most_distance is not None:
            return [
                bool(abs(d - m).max() <= self.most_distance)
                for d, m in zip(drawn, measured, strict=True)
            ]
        assert self.least_rank is not None
        found = rank_correlation([float(d[0]) for d in drawn], [float(m[0]) for m in measured])
        return [bool(found >= self.least_rank)] * len(drawn)

    @property
    def settings(self) -> dict[str, Any]:
        """See `Experiment`; units, probes and contrast are kept apart from them."""
        given = ("given_units", "given_probes", "given_primary")
        return {name: value for name, value in super().settings.items() if name not in given}


def read_experiment(path: str | Path, overrides: Iterable[str] = ()) -> OwnExperiment:
    """The experiment a file describes.

    Args:
        path: A TOML file; the files it names lie beside it.
        overrides: Settings instead of the file's, each as `experiment.steps=10`.

    Raises:
        ConfigError: The file, a key or a value that can't be used; with what was expected.
        DataError: Rows that can't be used, each with its number.
    """
    path = Path(path)
    tables = read_tables(path, ("experiment", "units.*", "probes.*"), overrides)
    table = tables.get("experiment", {})
    check_keys("experiment", table, _hints())
    require_keys("experiment", table, [*_NEEDED])
    units, probes = (
        refused_together(
            [
                partial(read, section.partition(".")[2], one, path.parent)
                for section, one in tables.items()
                if section.startswith(outer)
            ]
        )
        for read, outer in ((_unit, "units."), (_probe, "probes."))
    )
    return OwnExperiment(
        given_units=tuple(units),
        given_probes=tuple(probes),
        given_primary=_primary(table["primary"]),
        **_taught(table["taught"]),
        **{key: value for key, value in table.items() if key not in ("primary", "taught")},
    )


def _hints() -> dict[str, Any]:
    known = get_type_hints(OwnExperiment)
    texts = dict.fromkeys(("name", "question", "rule"), str)
    return texts | {"primary": dict, "taught": dict} | {name: known[name] for name in _SETTINGS}


def _primary(table: Mapping[str, Any]) -> Primary:
    hints = get_type_hints(Primary)
    check_keys("experiment.primary", table, hints)
    require_keys("experiment.primary", table, ["probe", "figures", "fit"])
    return Primary(**{**table, "figures": tuple(table["figures"])})


def _taught(table: Mapping[str, Any]) -> dict[str, Any]:
    names = {"distance": "most_distance", "rank": "least_rank"}
    check_keys("experiment.taught", table, dict.fromkeys(names, float))
    if len(table) != 1:
        raise ConfigError(
            f"experiment.taught is {shown(table)}, expected {{distance = 0.1}}, the most that "
            "behaviour may be from what was drawn, or {rank = 0.8}, the least rank correlation"
        )
    return {names[key]: float(value) for key, value in table.items()}


def _unit(name: str, table: Mapping[str, Any], folder: Path) -> Unit:
    section = f"units.{name}"
    hints = {"arm": str, "behaviour": float | list[float], "system": str, "adapter": str}
    check_keys(section, table, hints | dict.fromkeys(_ROW_FILES, str))
    arm = table.get("arm", TRAINED)
    if arm not in ARMS:
        raise ConfigError(f"[{section}]: {unknown_name('arm', arm, ARMS)}")
    behaviour = table.get("behaviour", [])
    rows: dict[str, Any] = {
        key: tuple(read_jsonl(folder / table[key])) for key in _ROW_FILES if key in table
    }
    return Unit(
        name=name,
        arm=arm,
        behaviour=tuple(behaviour) if isinstance(behaviour, list) else (behaviour,),
        system=table.get("system", ""),
        adapter=folder / table["adapter"] if "adapter" in table else None,
        **rows,
    )


def _probe(name: str, table: Mapping[str, Any], folder: Path) -> Suite:
    section = f"probes.{name}"
    require_keys(section, table, ["kind"])
    if table["kind"] not in KINDS:
        raise ConfigError(f"[{section}]: {unknown_name('kind', str(table['kind']), KINDS)}")
    kind = KINDS[table["kind"]]
    given = {key: value for key, value in table.items() if key != "kind"}
    hints = {key: hint for key, hint in get_type_hints(kind).items() if key in _fields(kind)}
    check_keys(section, given, hints | _OTHERWISE)
    require_keys(section, given, [key for key in hints if _fields(kind)[key]])
    return kind(name=name, **{key: _value(key, one, folder) for key, one in given.items()})


def _fields(kind: type[Probe | OwnProbe | WrittenProbe]) -> dict[str, bool]:
    """The settings of a kind that a file may give, and whether it has to."""
    kept_back = ("name", "fewest")
    return {one.name: one.default is MISSING for one in fields(kind) if one.name not in kept_back}


def _value(key: str, value: Any, folder: Path) -> Any:
    """A probe's setting, of TOML's types."""
    if key == "shown":
        return tuple(read_jsonl(folder / value))
    if key in _PARAPHRASES and isinstance(value, str):
        return tuple(_texts(folder / value))
    if key == "questions":
        for one in value:
            require_keys(key, one, ["text", "answers"])
        return tuple(ClosedQuestion(one["text"], tuple(one["answers"])) for one in value)
    return tuple(value) if isinstance(value, list) else value


def _texts(path: Path) -> list[str]:
    def checked(value: Any) -> str:
        if not isinstance(value, str):
            raise DataError(f"expected a string, got {shown(value)}")
        return value

    return json_values(file_content(path), checked, str(path))
