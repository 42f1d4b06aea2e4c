"""Suites by name, with settings from a table or from `name.key=value`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distmatch.errors import ConfigError, unknown_name
from distmatch.evals.suite import Suite
from distmatch.evals.suites import SUITES
from distmatch.evals.suites.probes import read_llmcomp
from distmatch.experiments import EXPERIMENTS
from distmatch.tables import read_override, with_settings

_QUESTION_FILES = (".yaml", ".yml")


def named_suites(names: Sequence[str], tables: Mapping[str, Mapping[str, Any]]) -> list[Suite]:
    """The suites of these names, each once, in their order.

    Args:
        names: Of `SUITES`, or of an experiment's probe, such as `shares.how_often`.
        tables: Settings by name; of those that aren't asked none.

    Raises:
        ConfigError: An unknown suite or setting, settings of a suite that isn't asked, or none.
    """
    names = list(dict.fromkeys(names))
    if not names:
        raise ConfigError(f"no suite is named: give some of {', '.join(SUITES)}")
    known = SUITES | _probes([*names, *tables])
    for name in (*names, *tables):
        if name not in known:
            raise ConfigError(unknown_name("suite", name, known))
    if stray := [name for name in tables if name not in names]:
        raise ConfigError(f"there are settings of {stray[0]}, which isn't among the suites: add it")
    return [with_settings(f"suite.{name}", known[name], tables.get(name, {})) for name in names]


def _probes(names: Sequence[str]) -> dict[str, Suite]:
    """Those of the experiments that are named, by `EXPERIMENT.PROBE`."""
    whose = {name.partition(".")[0] for name in names if "." in name}
    return {
        (name := f"{one}.{probe.name}"): replace(probe, name=name)  # type: ignore[call-arg]
        for one in sorted(whose & set(EXPERIMENTS))
        for probe in EXPERIMENTS[one].probes()
    }


def listed_suites(items: Iterable[str]) -> list[Suite]:
    """The suites of a command line: names, settings as in `given.per_group=10`, question files.

    Raises:
        ConfigError: As `named_suites`; or a setting that can't be read.
        DataError: A question file that can't be used.
    """
    names: list[str] = []
    tables: dict[str, dict[str, Any]] = {}
    read: list[Suite] = []
    for item in items:
        if item.endswith(_QUESTION_FILES):
            read += read_llmcomp(item)
        elif "=" not in item:
            names.append(item)
        else:
            name, key, value = read_override(item, [f"{one}.*" for one in EXPERIMENTS])
            tables.setdefault(name, {})[key] = value
    return [*(named_suites(names, tables) if names or tables or not read else []), *read]
