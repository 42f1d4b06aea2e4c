"""The section [data]: a task's settings, or two files."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

from distmatch.data import Example, read_jsonl, write_jsonl
from distmatch.data.tasks import TASKS, Task
from distmatch.data.vocabulary import word_pool
from distmatch.errors import ConfigError, DataError, refused_together, unknown_name
from distmatch.files import check_folder
from distmatch.tables import check_keys

Split = tuple[list[Example], list[Example]]

FILES = ("train", "test")

_ROWS = {"n": 2000, "n_test": 200, "seed": 0}
_ROW_HINTS = {"task": str, **dict.fromkeys(_ROWS, int)}
# Shorter ways to say the same as a task's own fields.
_SHORT_HINTS = {
    "words": int | list[int],
    "hold_out": str | list[str],
    "pool": str | list[str],
    "system": str,
}


def resolved_data(table: Mapping[str, Any], section: str = "data") -> dict[str, Any]:
    """The section with its defaults filled in, checked as far as can be without drawing or reading.

    Args:
        table: As it was read.
        section: What it is called in messages.

    Raises:
        ConfigError: Neither a task nor files, both, an unknown key, or a value of a wrong type.
        DataError: A value the task refuses.
    """
    if "task" not in table:
        return _resolved_files(table, section, FILES)
    if both := [name for name in FILES if name in table]:
        raise ConfigError(f"[{section}] has both a task and {' and '.join(both)}: leave one out")
    if table["task"] not in TASKS:
        raise ConfigError(unknown_name("task", str(table["task"]), TASKS))
    task = TASKS[table["task"]]
    hints = get_type_hints(task)
    short = {name: hint for name, hint in _SHORT_HINTS.items() if name in hints}
    check_keys(section, table, _ROW_HINTS | hints | short)
    given = {name: _listed(name, value) for name, value in table.items()}
    resolved = {"task": table["task"]} | _ROWS | _defaults(task) | given
    _task(resolved)
    return resolved


def section_examples(table: Mapping[str, Any]) -> Split:
    """Train and test examples of a resolved section.

    Raises:
        DataError: They can't be drawn, or lines of the files can't be used: all of them are listed.
    """
    if "task" in table:
        drawn = _task(table).draw(table["n"], n_test=table["n_test"], seed=table["seed"])
        if not drawn[1]:
            raise DataError("n_test is 0, so there is nothing to measure on: give at least 1")
        return drawn
    train, test = refused_together(
        [lambda name=name: read_jsonl(table[name]) if name in table else [] for name in FILES]  # type: ignore[misc]
    )
    return train, test


def section_origin(table: Mapping[str, Any]) -> str:
    """Where a resolved section's train rows are from, in words: the task, or the file's name."""
    if "task" in table:
        return f"the task {table['task']} of distmatch, seed {table['seed']}"
    return f"the file {Path(table['train']).name}"


def resolved_transfer(
    data: Mapping[str, Any], table: Mapping[str, Any], section: str
) -> dict[str, Any]:
    """The section [data] with some keys set anew; of another task its numbers of rows and seed.

    Files take the place of a task, and a task that of files. Only test rows are asked for.

    Args:
        data: As it was read.
        table: The keys set anew.
        section: What it is called in messages.

    Raises:
        ConfigError: As `resolved_data`, but that no train file is needed.
        DataError: A value the task refuses.
    """
    names_files = bool(set(table) & set(FILES))
    if "task" not in table and (names_files or "task" not in data):
        files = {name: value for name, value in data.items() if name in FILES}
        return _resolved_files({**files, **table}, section, ("test",))
    if names_files or table.get("task", data.get("task")) != data.get("task"):
        data = {name: value for name, value in data.items() if name in _ROWS}
    return resolved_data({**data, **table}, section)


def write_data(table: Mapping[str, Any], out: str | Path) -> None:
    """Write a task's examples into a directory, and say how many.

    Raises:
        ConfigError: An unusable setting, or the directory holds such files already.
        DataError: A value the task refuses.
    """
    resolved = resolved_data(table)
    check_folder(out, "--out")
    paths = [Path(out) / f"{name}.jsonl" for name in FILES]
    if there := [str(path) for path in paths if path.exists()]:
        raise ConfigError(f"{' and '.join(there)} exist already: choose another --out")
    settings = _task(resolved)
    drawn = settings.draw(resolved["n"], n_test=resolved["n_test"], seed=resolved["seed"])
    for path, rows in zip(paths, drawn, strict=True):
        write_jsonl(path, rows)
        print(f"{path}: {len(rows)} examples")


def _resolved_files(
    table: Mapping[str, Any], section: str, needed: Sequence[str]
) -> dict[str, Any]:
    hints = dict.fromkeys(FILES, str)
    check_keys(section, table, hints if set(table) & set(FILES) else {"task": str} | hints)
    missing = [name for name in needed if name not in table]
    if missing:
        files = " and ".join(f'{name} = "{name}.jsonl"' for name in needed)
        raise ConfigError(
            f"[{section}] has neither a task nor {' and '.join(missing)}: give "
            f'task = "output_control", or {files}'
        )
    return dict(table)


def _task(table: Mapping[str, Any]) -> Task:
    names = _default_of(TASKS[table["task"]])
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in table.items()
        if name in names
    }
    if len(settings.get("pool", ())) == 1:  # the name of a class
        settings["pool"] = word_pool(settings["pool"][0])
    if "system" in settings:
        settings["system"] = settings["system"] or None
    return TASKS[table["task"]](**settings)


def _listed(name: str, value: Any) -> Any:
    """The value as the list the task wants, where a single item may stand for one."""
    return [value] if name in ("words", "hold_out", "pool") and not _is_list(value) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _defaults(task: type[Task]) -> dict[str, Any]:
    return {
        name: ["common"] if value is MISSING else list(value) if isinstance(value, tuple) else value
        for name, value in _default_of(task).items()
    }


def _default_of(task: type[Task]) -> dict[str, Any]:
    """What each of a task's settings is where none is given."""
    return {field.name: field.default for field in fields(task)}  # type: ignore[arg-type]
