"""TOML tables: read with overrides, checked against the types of what they describe, written."""

import json
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from distmatch.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Value = TypeVar("_Value", bound="DataclassInstance")

Tables = dict[str, dict[str, Any]]
"""Settings by section and key; a section inside another is called `outer.inner`."""

_EXPECTED = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    list: ("a list", "lists"),
    dict: ("a table", "tables"),
}
"""One, and several of them."""


def read_toml(path: str | Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises:
        ConfigError: The file is missing or not TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not even UTF-8
        raise ConfigError(f"{path} is not TOML: {error}") from error


def read_tables(path: str | Path, sections: Sequence[str], overrides: Iterable[str] = ()) -> Tables:
    """The sections of a TOML file, with some of their keys set anew.

    Args:
        path: The file.
        sections: All it may have; `"outer.*"` allows any section inside `outer`.
        overrides: Each as `section.key=value`.

    Raises:
        ConfigError: The file is missing or not TOML, a section is unknown, or an override can't
            be read.
    """
    tables = _flat(read_toml(path), sections)
    for section, key, value in (read_override(text, sections) for text in overrides):
        tables.setdefault(section, {})
        if isinstance(tables[section], dict):
            tables[section][key] = value
    for section, table in tables.items():
        if section not in sections and _inside(section) not in sections:
            raise ConfigError(f"{path}: {unknown_name('section', section, sections)}")
        if not isinstance(table, dict):
            raise ConfigError(
                f"{path}: {section} is {_shown(table)}, expected a section [{section}]"
            )
    return tables


def check_keys(section: str, table: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Refuse keys a section doesn't have, and values of the wrong type.

    Raises:
        ConfigError: The first such key, with what was expected.
    """
    for key, value in table.items():
        if key not in hints:
            raise ConfigError(unknown_name(f"key of [{section}]", key, hints))
        if not _fits(value, hints[key]):
            raise ConfigError(
                f"{section}.{key} is {_shown(value)}, expected {_expected(hints[key])}"
            )


def with_settings(section: str, value: _Value, table: Mapping[str, Any]) -> _Value:
    """A dataclass with some of its fields set anew; lists become tuples.

    Args:
        section: What the table is called in messages.
        value: The dataclass.
        table: Its new fields.

    Raises:
        ConfigError: A field that isn't there, or a value of the wrong type.
    """
    hints = get_type_hints(type(value))
    check_keys(section, table, {one.name: hints[one.name] for one in fields(value)})
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return replace(value, **given) if given else value


def require_keys(section: str, table: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a section that lacks one of the keys.

    Raises:
        ConfigError: The first that is missing.
    """
    for key in keys:
        if key not in table:
            raise ConfigError(f'[{section}] has no "{key}", which every run needs: add it')


def to_toml(tables: Tables) -> str:
    """The tables as TOML; tuples become lists, and what is None is left out."""
    nested: dict[str, Any] = {}
    for section, table in tables.items():
        place = nested
        for name in section.split(".", 1):
            place = place.setdefault(name, {})
        place.update({key: value for key, value in table.items() if value is not None})
    return tomli_w.dumps(nested)


def _flat(content: Mapping[str, Any], sections: Sequence[str]) -> dict[str, Any]:
    """With sections inside others beside them, as `outer.inner`."""
    tables: dict[str, Any] = {}
    for name, table in content.items():
        if f"{name}.*" in sections and isinstance(table, dict):
            tables |= {f"{name}.{inner}": value for inner, value in table.items()}
        else:
            tables[name] = table
    return tables


def _inside(section: str) -> str:
    """What allows sections of that name's outer one."""
    return f"{section.partition('.')[0]}.*"


def read_override(text: str, sections: Sequence[str] = ()) -> tuple[str, str, Any]:
    """Section, key and value of `section.key=value`; what isn't TOML is a string.

    Args:
        text: The override.
        sections: Those there are; `"outer.*"` allows any section inside `outer`.

    Raises:
        ConfigError: It can't be read.
    """
    name, equals, value = text.partition("=")
    name = name.strip()
    section, dot, key = name.rpartition(".") if _inside(name) in sections else name.partition(".")
    if not (equals and dot and section and key):
        raise ConfigError(
            f'can\'t read the override "{text}": expected section.key=value, '
            "such as train.learning_rate=2e-3"
        )
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError as error:
        if value.lstrip()[:1] in ("[", "{", '"', "'"):
            raise ConfigError(f'the value of the override "{text}" is not TOML: {error}') from error
        return section, key, value
    return section, key, parsed["value"] if len(parsed) == 1 else value


def _fits(value: Any, hint: Any) -> bool:
    kinds = [(kind, hint) for hint in _alternatives(hint) if (kind := _plain(hint))]
    return any(_fits_kind(value, kind, get_args(hint)) for kind, hint in kinds)


def _fits_kind(value: Any, kind: type, items: tuple[Any, ...]) -> bool:
    if kind is list:
        return isinstance(value, list) and all(_fits(item, items[0]) for item in value if items)
    if kind is dict and items and _expected(items[-1]):
        return isinstance(value, dict) and all(_fits(item, items[-1]) for item in value.values())
    return type(value) is kind or (kind is float and type(value) is int)


def _expected(hint: Any, *, several: bool = False) -> str:
    kinds = dict.fromkeys(kind for hint in _alternatives(hint) if (kind := _plain(hint)))
    of = {
        _plain(one): f" of {_expected(item, several=True)}"
        for one in _alternatives(hint)
        for item in _items(one)
        if _plain(item)
    }
    return " or ".join(_EXPECTED[kind][several] + of.get(kind, "") for kind in kinds)


def _items(hint: Any) -> tuple[Any, ...]:
    """What a list or a table holds; nothing where that isn't said."""
    arguments = get_args(hint)
    if not arguments or _plain(hint) not in (list, dict):
        return ()
    return arguments[:1] if _plain(hint) is list else arguments[-1:]


def _alternatives(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return [item for part in get_args(hint) for item in _alternatives(part)]
    return [hint]


def _plain(hint: Any) -> type | None:
    """The kind of TOML value a type is written as; None if there is none."""
    origin = get_origin(hint) or hint
    if origin in (list, tuple, Sequence):
        return list
    if origin is Mapping:
        return dict
    if isinstance(origin, type) and issubclass(origin, Enum):
        return str
    return origin if origin in _EXPECTED else None


def _shown(value: Any) -> str:
    """In a line, as TOML has it but for tables."""
    return json.dumps(value, ensure_ascii=False, default=str)
